// What an operator does with an alarm besides taking it: shelve, note, retire, and the list of what is kept quiet.
(function () {
  'use strict';
  const hw = window.hallwatch;
  hw.acting = null; // the alert whose form is open

  const SPANS = [1, 4, 8, 0]; // hours; 0 is until it clears

  function option(value, text) {
    const node = hw.el('option', '', text);
    node.value = value;
    return node;
  }

  function field(name, placeholder, label) {
    const node = hw.el('input');
    node.name = name;
    node.placeholder = placeholder;
    node.maxLength = name === 'reason' ? 500 : 200;
    node.setAttribute('aria-label', label);
    return node;
  }

  function select(name, label, options) {
    const node = hw.el('select');
    node.name = name;
    node.setAttribute('aria-label', label);
    for (const [value, text] of options) node.append(option(value, text));
    return node;
  }

  function ask(data) {
    window.dash_clientside.set_props('alarm-act-request', { data: { ...data, at: Date.now() } });
  }

  hw.more = function (alert, open) {
    const button = hw.el('button', 'more', hw.say('acts.open'));
    button.type = 'button';
    button.id = 'more-' + alert.id;
    button.setAttribute('aria-label', hw.say('acts.open_one', { rule: alert.title, object: alert.object }));
    button.onclick = open;
    return button;
  };

  hw.acts = function (alert, close) {
    const form = hw.el('form', 'note acts');
    const active = alert.state !== 'returned';
    const spans = active ? SPANS.map((h) => ['shelve ' + h, h ? hw.say('acts.shelve', { h: h }) : hw.say('acts.shelve_once')]) : [];
    const what = select('what', hw.say('acts.what'), [...spans, ['comment', hw.say('acts.comment')],
      ...(active ? [['out of service', hw.say('acts.out_of_service')]] : []), ['retire', hw.say('acts.retire')]]);
    const reason = field('reason', hw.say('acts.why_short'), hw.say('acts.why'));
    reason.required = true;
    const yes = hw.el('button', 'acknowledge', hw.say('acts.do'));
    yes.id = 'act-confirm-' + alert.id;
    const no = hw.el('button', 'cancel', hw.say('alert.cancel'));
    no.type = 'button';
    no.onclick = close;
    form.onkeydown = (event) => { if (event.key === 'Escape') close(); };
    form.onsubmit = (event) => {
      event.preventDefault();
      const shelve = what.value.startsWith('shelve ');
      ask({
        act: shelve ? 'shelve' : what.value, id: alert.id, reason: reason.value,
        hours: shelve ? Number(what.value.slice(7)) : 0, object: alert.object, rule: alert.rule,
      });
    };
    const past = hw.el('ol', 'alert-timeline');
    past.setAttribute('aria-label', hw.say('acts.timeline'));
    fetch('/alerts/' + alert.id + '/timeline', { headers: { accept: 'application/json' } })
      .then((answer) => (answer.ok ? answer.json() : []), () => [])
      .then((steps) => past.replaceChildren(...steps.map(([time, became, said]) => {
        const step = hw.el('li', '', time + ' ' + became);
        if (said) step.append(hw.el('span', 'muted', hw.say('text.comma') + said));
        return step;
      })));
    form.append(what, reason, yes, no, past);
    setTimeout(() => reason.focus(), 0);
    return form;
  };

  // --- what is kept quiet ------------------------------------------------------------------------------------------

  function entry(one) {
    const row = hw.el('article', 'quiet-row');
    row.id = 'quiet-' + one.id;
    row.append(hw.el('span', 'kind'), hw.el('span', 'object'), hw.el('span', 'until'), hw.el('div', 'why'));
    if (one.byHand) {
      const button = hw.el('button', 'resume', one.kind === 'out of service' ? hw.say('quiet.put_back') : hw.say('quiet.end'));
      button.type = 'button';
      button.setAttribute('aria-label', hw.say('quiet.end_one', { kind: one.kindText, object: one.what }));
      button.onclick = () => ask({ act: 'resume', id: one.id });
      row.append(button);
    }
    return row;
  }

  function write(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  hw.on('live-alarms', (alarms) => {
    const place = document.getElementById('quiet-list');
    if (!place) return;
    const known = new Map([...place.querySelectorAll(':scope > .quiet-row')].map((row) => [row.id, row]));
    const rows = alarms.rows.map((one) => {
      const row = known.get('quiet-' + one.id) || entry(one);
      row.className = 'quiet-row ' + one.kind.replaceAll(' ', '-') + (one.holds ? '' : ' to-come');
      write(row.querySelector('.kind'), one.kindText);
      write(row.querySelector('.object'), one.what + (one.rule ? hw.say('text.comma') + one.rule : ''));
      write(row.querySelector('.until'), one.holds ? one.until : hw.say('quiet.from', { time: one.begins, until: one.until }));
      write(row.querySelector('.why'), one.why + ' \u00b7 ' +
        (one.holds ? hw.say('quiet.since', { span: hw.duration(hw.now - one.since) }) + ' \u00b7 ' : '') +
        hw.count('quiet.alarms', one.alarms));
      return row;
    });
    const summary = document.getElementById('quiet-summary');
    if (summary) write(summary, alarms.rows.length ? hw.say('quiet.in_all', { n: alarms.rows.length }) : '');
    if (!rows.length) {
      const none = hw.say('quiet.none');
      if (place.textContent !== none) place.replaceChildren(hw.el('div', 'empty', none));
      return;
    }
    const same = place.children.length === rows.length && rows.every((row, i) => place.children[i] === row);
    if (!same) place.replaceChildren(...rows);
  });

  hw.on('live-alarms', (alarms) => {
    hw.rows('alarm-measures', alarms.measures);
    hw.rows('alarm-top', alarms.top);
  });

  document.addEventListener('submit', (event) => {
    if (event.target.id !== 'window-form') return;
    event.preventDefault();
    const form = event.target.elements;
    const hours = Number(form.hours.value);
    ask({
      act: hours ? 'maintenance' : 'out of service', object: form.object.value, rule: form.rule.value, hours,
      reason: form.reason.value, below: form.below.checked,
    });
  });
  document.addEventListener('click', (event) => {
    if (event.target.id === 'take-returned') ask({ act: 'take returned' });
  });
  hw.windowForm = function (place) {
    if (place.firstChild) return;
    const form = hw.el('form', 'window-form');
    form.id = 'window-form';
    const object = field('object', hw.say('window.object_such_as'), hw.say('window.object'));
    const reason = field('reason', hw.say('acts.why_short'), hw.say('acts.why'));
    object.required = reason.required = true;
    const below = hw.el('input');
    below.type = 'checkbox';
    below.name = 'below';
    const label = hw.el('label', '', '');
    label.append(below, document.createTextNode(' ' + hw.say('window.below')));
    form.append(object, field('rule', hw.say('window.any_rule'), hw.say('window.rule')),
      select('hours', hw.say('window.how_long'), [
        ...[2, 4, 8, 24].map((h) => [String(h), hw.say('window.maintenance', { h: h })]), ['0', hw.say('window.out_of_service')]]), reason, label, hw.el('button', 'acknowledge', hw.say('window.announce')));
    place.append(form);
  };
  hw.on('live-alarms', () => {
    const place = document.getElementById('window-place');
    if (place) hw.windowForm(place);
  });

  hw.on('alarm-act-answer', (answer) => {
    hw.tell(answer);
    delete hw.latest['alarm-act-answer'];
    if (answer.error) return;
    hw.acting = null;
    const form = document.getElementById('window-form');
    if (form && (answer.act === 'maintenance' || answer.act === 'out of service')) form.reset();
    document.querySelectorAll('.alert-act').forEach((place) => { delete place.dataset.shows; });
    hw.paintAll();
  });
})();
