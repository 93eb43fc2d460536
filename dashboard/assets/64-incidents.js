// Incidents: cards with the cause on top, and the page of one of them.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const SIGNS = { critical: '\u25b2', high: '\u25a0', warning: '\u25c6', info: '\u25cf' };
  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };

  function card(i) {
    const row = hw.el('a', 'incident');
    row.id = 'incident-' + i.id;
    row.href = '/incident/' + i.id;
    const head = hw.el('div', 'alert-head');
    head.append(hw.el('span', 'sign'), hw.el('span', 'object'), hw.el('span', 'rule'), hw.el('span', 'since'));
    const summary = hw.el('div', 'summary');
    row.append(head, summary, hw.el('div', 'incident-why'), hw.el('div', 'incident-below'));
    return row;
  }

  function fill(row, i) {
    const wanted = 'incident ' + i.severity + ' ' + i.state;
    if (row.className !== wanted) row.className = wanted;
    set(row.querySelector('.sign'), SIGNS[i.severity]);
    set(row.querySelector('.object'), i.object);
    set(row.querySelector('.rule'), i.title);
    const since = row.querySelector('.since');
    since.title = i.openedText;
    if (i.closed) {
      delete since.dataset.since;
      set(since, hw.say('alert.lasted', { time: i.openedText, span: hw.duration(i.closed - i.opened) }));
    } else {
      since.dataset.since = i.opened;
      set(since, hw.duration(hw.now - i.opened));
    }
    set(row.querySelector('.summary'), i.summary);
    row.querySelector('.summary').lang = i.lang;
    set(row.querySelector('.incident-why'), [i.cause, i.who ? hw.say('incident.taken', { who: i.who }) : ''].filter(Boolean).join(' \u00b7 '));
    set(row.querySelector('.incident-below'), i.members ? hw.count('incident.below', i.members, { active: i.active, what: i.below }) : '');
  }

  function list(id, cards, empty) {
    const place = document.getElementById(id);
    if (!place) return;
    if (!cards.length) {
      if (place.textContent !== empty) place.replaceChildren(hw.el('div', 'empty', empty));
      return;
    }
    const known = new Map([...place.querySelectorAll(':scope > .incident')].map((row) => [row.id, row]));
    const rows = cards.map((i) => {
      const row = known.get('incident-' + i.id) || card(i);
      fill(row, i);
      return row;
    });
    const same = place.children.length === rows.length && rows.every((row, i) => place.children[i] === row);
    if (!same) place.replaceChildren(...rows);
  }

  hw.on('live-incidents', (told) => {
    if (!document.getElementById('incident-open')) return;
    hw.cells(told.cells);
    list('incident-open', told.open, hw.say('incident.none_open'));
    list('incident-alone', told.alone, hw.say('incident.none_alone'));
    list('incident-past', told.past, hw.say('incident.none_past'));
  });

  hw.on('live-incident', (told) => {
    const shown = document.getElementById('incident-shown');
    if (!shown || shown.textContent !== told.lead) return;
    hw.cells(told.cells);
    if (!told.known) return;
    hw.alertList('incident-alert', [told.alert], '');
    hw.alertList('incident-members', told.members, hw.say('incident.no_members'));
    hw.rows('incident-steps', told.steps);
    hw.rows('incident-notes', told.notes);
    why(told.cause);
    racks(told.racks);
    noting(told);
  });

  function why(cause) {
    const place = document.getElementById('incident-cause');
    const wanted = JSON.stringify(cause);
    if (place.dataset.shows === wanted) return;
    place.dataset.shows = wanted;
    const root = hw.el('p', 'incident-root');
    root.append(hw.el('strong', '', cause.root), hw.el('span', '', ' ' + cause.fault));
    const evidence = hw.el('ul', 'incident-evidence');
    evidence.append(...cause.evidence.map((line) => hw.el('li', '', line)));
    const other = hw.el('p', 'muted', !cause.alternatives ? '' : cause.alternatives.length ? hw.say('incident.alternatives', { names: cause.alternatives.join(', ') }) : hw.say('incident.no_alternatives'));
    place.replaceChildren(root, evidence, other);
  }

  function racks(ids) {
    const place = document.getElementById('incident-affected');
    const wanted = ids.join();
    if (place.dataset.shows === wanted) return;
    place.dataset.shows = wanted;
    place.replaceChildren(...ids.map((id) => {
      const link = hw.el('a', 'incident-rack', id);
      link.href = '/rack/' + encodeURIComponent(id);
      return link;
    }));
    if (!ids.length) place.append(hw.el('span', 'muted', hw.say('incident.no_racks')));
  }

  function noting(told) {
    const form = document.getElementById('incident-note-form');
    if (!form || form.children.length) return;
    const note = hw.el('input');
    note.name = 'note';
    note.maxLength = 500;
    note.required = true;
    note.placeholder = hw.say('incident.write_note');
    note.setAttribute('aria-label', hw.say('incident.write_note'));
    const yes = hw.el('button', 'acknowledge', hw.say('incident.add_note'));
    yes.id = 'incident-note-add';
    form.onsubmit = (event) => {
      event.preventDefault();
      window.dash_clientside.set_props('alarm-act-request', {
        data: { act: 'comment', id: Number(told.lead), reason: note.value, at: Date.now() },
      });
      note.value = '';
    };
    form.append(note, yes);
  }
})();
