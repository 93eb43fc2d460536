// Notes pinned to moments: a list with a form, and marks in the charts.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const NEAR_MS = 86400000;
  let box = null;
  let marked = '';
  const by = (id) => document.getElementById(id);
  const notes = () => (hw.latest['live-notes'] || {}).notes || [];
  // the object that the page is of, if it is of one
  const here = () => decodeURIComponent((location.pathname.match(/^\/(?:rack|object)\/([^/]+)$/) || [])[1] || '');

  // Charts show notes of the site, and of the object that the page is of: those of others on pages of the site only.
  hw.noted = function (shape) {
    const axis = shape.xaxis || {};
    if (axis.type !== 'date' || !axis.range) return shape;
    const [start, end] = axis.range.map((t) => (typeof t === 'number' ? t : Date.parse(t.replace(' ', 'T') + (/Z$/.test(t) ? '' : 'Z'))));
    const shown = notes().filter((n) => n.wall >= start && n.wall <= end && (!n.object || !here() || n.object === here()));
    if (!shown.length) return shape;
    const colour = hw.colour('blue');
    return Object.assign({}, shape, {
      shapes: (shape.shapes || []).concat(shown.map((n) => ({ type: 'line', x0: n.wall, x1: n.wall, yref: 'paper', y0: 0, y1: 1,
        line: { color: colour, width: 1, dash: 'dashdot' } }))),
      annotations: (shape.annotations || []).concat(shown.map((n) => ({ name: 'note', x: n.wall, y: 1, yref: 'paper', yanchor: 'top', xanchor: 'left',
        showarrow: false, captureevents: true, text: '\u270e', font: { size: 14, color: colour },
        hovertext: (n.time + ' ' + (n.object || hw.say('notes.site')) + ' ' + n.who + ': ' + n.note).replace(/</g, '&lt;') }))),
    });
  };

  function field(id, key, more) {
    const label = hw.el('label', '', hw.say(key));
    const input = hw.el('input');
    Object.assign(input, { id: id, type: 'text', autocomplete: 'off' }, more);
    label.append(input);
    return label;
  }

  function build() {
    box = hw.el('dialog', 'notes');
    box.id = 'notes';
    box.setAttribute('aria-labelledby', 'notes-title');
    const title = hw.el('h2', '', hw.say('notes.title'));
    title.id = 'notes-title';
    const list = hw.el('div', 'notes-list');
    list.id = 'notes-list';
    list.tabIndex = 0;
    list.setAttribute('role', 'region');
    list.setAttribute('aria-label', hw.say('notes.near'));
    const form = hw.el('form', 'notes-form');
    form.id = 'notes-form';
    form.append(
      field('note-moment', 'notes.moment', { type: 'datetime-local', step: 1, required: true }),
      field('note-object', 'notes.object', { maxLength: 250 }),
      field('note-text', 'notes.note', { maxLength: 500, required: true }));
    const add = hw.el('button', 'acknowledge', hw.say('notes.add'));
    add.id = 'note-add';
    form.append(add);
    form.onsubmit = (event) => {
      event.preventDefault();
      window.dash_clientside.set_props('note-request', { data: { moment: by('note-moment').value, object: by('note-object').value,
        note: by('note-text').value, sent: Date.now() } });
    };
    const close = hw.el('button', 'cancel', hw.say('notes.close'));
    Object.assign(close, { type: 'button', id: 'notes-close', onclick: () => box.close() });
    box.append(title, list, form, close);
    box.onclick = (event) => { if (event.target === box) box.close(); };
    by('console').append(box);
  }

  function entry(n) {
    const row = hw.el('article', 'note-row');
    row.id = 'note-' + n.id;
    const link = hw.el('a', '', n.time);
    link.href = hw.at(location.pathname, Math.ceil(n.at / 1000) * 1000);
    link.addEventListener('click', () => box.close());
    row.append(link, hw.el('p', '', n.note),
      hw.el('span', 'muted', hw.say('notes.about', { object: n.object || hw.say('notes.site'), who: n.who, time: n.written })));
    return row;
  }

  function fill() {
    if (!box || !box.open) return;
    const near = notes().filter((n) => !hw.moment || Math.abs(n.at - hw.moment) <= NEAR_MS);
    by('notes-list').replaceChildren(...(near.length ? near.map(entry) : [hw.el('p', 'muted', hw.say('notes.none'))]));
  }

  hw.openNotes = function () {
    if (!box) build();
    if (box.open) return;
    box.showModal();
    by('note-moment').value = hw.wall(hw.moment || hw.now);
    by('note-object').value = here();
    fill();
    by(document.querySelector('#console.viewer') ? 'notes-close' : 'note-text').focus();
  };

  hw.on('live-notes', (told) => {
    const open = by('notes-open');
    if (open) open.textContent = hw.say('notes.open') + (told.notes.length ? ' ' + told.notes.length : '');
    const now = JSON.stringify(told.notes.map((n) => [n.id, n.wall]));
    if (now === marked) return;
    marked = now;
    fill();
    hw.paintAll(); // the charts have other marks
  });
  hw.on('note-answer', (answer) => {
    delete hw.latest['note-answer'];
    hw.tell(answer);
    if (answer.error || !box) return;
    by('note-text').value = '';
    box.close();
  });

  document.addEventListener('click', (event) => {
    if (event.target.closest && event.target.closest('#notes-open')) hw.openNotes();
  });
})();
