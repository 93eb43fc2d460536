// Lists of alerts, and taking one: the button opens a line for a note, Enter or the second button sends it.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const SIGNS = { critical: '\u25b2', high: '\u25a0', warning: '\u25c6', info: '\u25cf' };
  const ORDER = { critical: 0, high: 1, warning: 2, info: 3 };
  const STATES = { open: 0, returned: 10, acknowledged: 20, cleared: 30 };
  const asks = (alert) => alert.state === 'open' || alert.state === 'returned';
  const urgency = (alert) => (alert.quiet ? 15 : STATES[alert.state]) + ORDER[alert.severity];
  let opened = null; // the alert whose note is being written
  let shown = null; // the alert that the address asks for and that was scrolled to
  const asked = () => new URLSearchParams(location.search).get('alert');

  // the rule leads to its runbook
  function rule(alert) {
    const link = hw.el('a', 'rule', alert.title);
    link.href = '/runbooks/' + encodeURIComponent(alert.rule);
    link.title = hw.say('alert.runbook', { rule: alert.title });
    return link;
  }

  // how many others an alert explains leads to them
  function explained(alert) {
    const link = hw.el('a', 'explains');
    link.href = '/incident/' + alert.id;
    return link;
  }

  // the console at the moment at which an alert opened
  function then(alert) {
    const link = hw.el('a', 'then', alert.openedShort);
    link.href = hw.at(alert.rack ? '/rack/' + encodeURIComponent(alert.rack) : '/', Math.ceil(alert.opened / 1000) * 1000);
    link.title = hw.say('alert.then_hint');
    link.setAttribute('aria-label', hw.say('alert.then', { time: alert.openedText }));
    return link;
  }

  function build(alert) {
    const row = hw.el('article', 'alert');
    row.id = 'alert-row-' + alert.id;
    const head = hw.el('div', 'alert-head');
    head.append(hw.el('span', 'sign'), hw.el('span', 'priority'));
    const object = hw.link(alert.object, 'object');
    object.textContent = alert.object;
    if (alert.rack) object.href = '/rack/' + encodeURIComponent(alert.rack);
    head.append(object, rule(alert), hw.el('span', 'against'), then(alert), hw.el('span', 'since'));
    const state = hw.el('div', 'alert-state');
    state.append(explained(alert), hw.el('span', 'hangs'), hw.el('span', 'told'), hw.el('span', 'held'));
    const summary = hw.el('div', 'summary');
    row.append(head, summary, state, hw.el('div', 'alert-act'));
    return row;
  }

  function fill(row, alert) {
    row.className = 'alert ' + alert.severity + ' ' + alert.state + (alert.quiet ? ' quieted' : '') +
      (alert.lead ? ' member' : '') + (asked() === String(alert.id) ? ' asked' : '');
    row.querySelector('.sign').textContent = SIGNS[alert.severity];
    set(row.querySelector('.priority'), hw.say('severity.' + alert.severity));
    const since = row.querySelector('.since');
    since.title = hw.say('alert.since', { time: alert.openedText });
    if (alert.state === 'cleared' || alert.state === 'returned') {
      delete since.dataset.since;
      since.textContent = hw.say('alert.lasted', { span: hw.duration(alert.cleared - alert.opened) });
    } else {
      since.dataset.since = alert.opened;
      since.textContent = hw.duration(hw.now - alert.opened);
    }
    const more = alert.explains ? hw.count('alert.explains', alert.explains) : '';
    set(row.querySelector('.summary'), alert.summary);
    row.querySelector('.summary').lang = alert.lang; // what somebody wrote is told as it is
    set(row.querySelector('.explains'), more);
    row.querySelector('.explains').hidden = !more;
    set(row.querySelector('.hangs'), alert.hangs || '');
    set(row.querySelector('.told'), told(alert));
    const held = row.querySelector('.held');
    if (alert.state === 'acknowledged') {
      held.dataset.since = alert.acknowledged;
      held.title = hw.say('alert.held');
    } else {
      delete held.dataset.since;
      set(held, '');
    }
    const against = row.querySelector('.against');
    set(against, alert.value + (alert.limit ? ' / ' + alert.limit : ''));
    against.title = hw.say('alert.against');
    against.hidden = alert.value === '\u2014';
    act(row, alert);
  }

  // the state of an alarm in words: whether somebody has it, for how long, what keeps it quiet, what was noted before
  function told(alert) {
    const parts = [];
    if (alert.quiet) parts.push(alert.quiet);
    if (alert.state === 'returned') parts.push(hw.say('alert.returned'));
    if (alert.who) {
      parts.push(hw.say('alert.taken', { who: alert.who }) + (alert.note ? hw.say('text.colon') + alert.note : ''));
    }
    if (alert.noted) parts.splice(alert.who ? -1 : parts.length, 0, hw.say('alert.noted', { note: alert.noted }));
    if (alert.told) parts.unshift(hw.say('alert.told_later', { time: alert.told }));
    return parts.join(' \u00b7 ');
  }

  function set(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  function act(row, alert) {
    const place = row.querySelector('.alert-act');
    const full = row.dataset.full === 'true';
    const want = opened === alert.id ? 'note' : hw.acting === alert.id && full ? 'acts' :
      (asks(alert) ? 'button' : '') + (full && alert.state !== 'cleared' ? 'more' : '');
    if (place.dataset.shows === want) return;
    place.dataset.shows = want;
    place.replaceChildren();
    if (want.startsWith('button')) {
      const button = hw.el('button', 'acknowledge', hw.say('alert.acknowledge'));
      button.id = 'ack-' + alert.id;
      button.type = 'button';
      button.setAttribute('aria-label', hw.say('alert.acknowledge_one', { rule: alert.title, object: alert.object }));
      button.onclick = () => { opened = alert.id; act(row, alert); };
      place.append(button);
    }
    if (want.endsWith('more')) place.append(hw.more(alert, () => { hw.acting = alert.id; act(row, alert); }));
    if (want === 'acts') {
      place.append(hw.acts(alert, () => { hw.acting = null; act(row, alert); }));
    } else if (want === 'note') {
      const form = hw.el('form', 'note');
      const note = hw.el('input');
      note.id = 'ack-note-' + alert.id;
      note.placeholder = hw.say('alert.note_optional');
      note.maxLength = 500;
      note.setAttribute('aria-label', hw.say('alert.note'));
      const yes = hw.el('button', 'acknowledge', hw.say('alert.acknowledge'));
      yes.id = 'ack-confirm-' + alert.id;
      const no = hw.el('button', 'cancel', hw.say('alert.cancel'));
      no.type = 'button';
      const close = () => { opened = null; act(row, alert); };
      no.onclick = close;
      form.onkeydown = (event) => { if (event.key === 'Escape') close(); };
      form.onsubmit = (event) => {
        event.preventDefault();
        yes.disabled = true;
        window.dash_clientside.set_props('acknowledge-request', {
          data: { id: alert.id, note: note.value, at: Date.now() },
        });
      };
      form.append(note, yes, no);
      place.append(form);
      note.focus();
    }
  }

  function list(id, alerts, empty) {
    const place = document.getElementById(id);
    if (!place) return;
    const known = new Map([...place.querySelectorAll(':scope > [id]')].map((row) => [row.id, row]));
    const rows = alerts.map((alert) => {
      if (alert.heading) return heading(known.get(alert.heading), alert);
      const row = known.get('alert-row-' + alert.id) || build(alert);
      row.dataset.full = id === 'alert-table';
      fill(row, alert);
      return row;
    });
    if (!rows.length) {
      if (place.textContent !== empty) place.replaceChildren(hw.el('div', 'empty', empty));
      return;
    }
    // moving a node takes the focus away, so only what changed is touched
    const same = place.children.length === rows.length && rows.every((row, i) => place.children[i] === row);
    if (!same) place.replaceChildren(...rows);
    const wanted = place.querySelector(':scope > .alert.asked');
    if (wanted && shown !== wanted.id) {
      shown = wanted.id;
      wanted.scrollIntoView({ block: 'center' });
    }
  }

  hw.alertList = list; // for other pages

  // --- the page of alerts: order and groups, as this browser keeps them ------------------------------------------------

  function heading(known, group) {
    const row = known || hw.el('h3', 'alert-group');
    row.id = group.heading;
    set(row, group.text);
    return row;
  }

  const SORTS = {
    urgent: (a, b) => urgency(a) - urgency(b) || b.opened - a.opened,
    newest: (a, b) => b.opened - a.opened,
    longest: (a, b) => a.opened - b.opened,
    object: (a, b) => a.object.localeCompare(b.object, undefined, { numeric: true }) || b.opened - a.opened,
  };
  const GROUPS = {
    pod: (a) => a.pod || hw.say('alerts.no_pod'),
    object: (a) => a.object,
    rule: (a) => a.title,
    severity: (a) => hw.say('severity.' + a.severity),
  };

  function picked(id) {
    const select = document.getElementById(id);
    if (!select) return '';
    if (!select.dataset.dressed) {
      select.dataset.dressed = 'yes';
      const kept = localStorage.getItem('choice-' + id);
      if ([...select.options].some((option) => option.value === kept)) select.value = kept;
      select.onchange = () => {
        localStorage.setItem('choice-' + id, select.value);
        hw.paint('alert-history');
      };
    }
    return select.value;
  }

  // Rows in the chosen order; in groups each after a heading, the groups in the order of their first.
  function ordered(rows, state) {
    const wanted = picked('alert-sort');
    // of what is over nothing is urgent
    const by = SORTS[wanted !== 'urgent' || state === 'active' || state === 'quiet' ? wanted : 'newest'] || SORTS.urgent;
    const grouped = picked('alert-group');
    if (grouped === 'cause') { // what another alert explains stands under it
      const known = new Map(rows.map((a) => [a.id, a]));
      const root = (a) => known.get(a.lead) || a;
      return rows.sort((a, b) => by(root(a), root(b)) || root(b).id - root(a).id || (a.lead ? 1 : 0) - (b.lead ? 1 : 0) || by(a, b));
    }
    rows.sort((a, b) => by(a, b) || b.id - a.id);
    const name = GROUPS[grouped];
    if (!name) return rows;
    const groups = new Map();
    rows.forEach((a) => groups.set(name(a), [...(groups.get(name(a)) || []), a]));
    return [...groups].flatMap(([text, members]) =>
      [{ heading: 'group-' + text, text: text + ' \u00b7 ' + members.length }, ...members]);
  }

  function counted(rows) {
    const of = (state) => rows.filter((a) => a.state === state).length;
    const quiet = rows.filter((a) => a.quiet).length;
    const told = [['open', of('open')], ['taken', of('acknowledged')], ['over', of('returned')], ['quiet', quiet]];
    return told.filter(([name, n]) => n || name === 'open').map(([name, n]) => hw.say('alert.counted.' + name, { n: n }))
      .join(hw.say('text.comma'));
  }

  let change = null; // which alerts were active, and how, when the history was last asked for
  hw.on('live-alerts', (alerts) => {
    if (!document.getElementById('alert-table')) {
      change = null;
      return;
    }
    const now = alerts.rows.map((a) => a.id + a.state + a.quiet + a.noted + a.note).join();
    if (change !== null && now !== change) window.dash_clientside.set_props('alert-change', { data: now });
    change = now;
  });
  hw.on('live-alerts', (alerts) => {
    const told = alerts.rows.filter((a) => !a.lead); // the page of alerts lists what these explain
    list('alert-list', told, hw.say('alert.none'));
    const summary = document.getElementById('alert-summary');
    const under = alerts.rows.length - told.length;
    if (summary) summary.textContent = counted(told) + (under ? hw.say('text.comma') + hw.say('alert.under', { n: under }) : '');
  });
  hw.on('live-object', (told) => {
    const title = document.getElementById('object-title');
    if (title && title.textContent === told.object) list('object-alerts', told.alerts, hw.say('object.no_alerts'));
  });
  hw.on('live-rack', (rack) => {
    if (hw.shown(rack)) list('rack-alerts', rack.alerts, hw.say('alert.none_here'));
  });
  hw.on('alert-history', (history) => {
    const state = hw.chosen['alert-state'] || 'active';
    const severity = hw.chosen['alert-severity'] || 'all';
    const words = (hw.chosen['alert-text'] || '').toLowerCase();
    const rows = history.rows.filter((a) =>
      (state === 'all' || (state === 'cleared' ? a.state === 'cleared' : state === 'quiet' ? a.quiet !== '' : a.state !== 'cleared')) &&
      (severity === 'all' || a.severity === severity) &&
      (a.object + ' ' + a.rule + ' ' + a.title + ' ' + a.summary + ' ' + a.who + ' ' + a.note + ' ' + a.quiet + ' ' + a.noted).toLowerCase().includes(words));
    list('alert-table', ordered(rows, state), hw.say('alert.none_such'));
    const over = document.getElementById('take-returned');
    if (over) over.hidden = !history.rows.some((a) => a.state === 'returned');
    const shown = document.getElementById('alert-shown');
    if (shown) shown.textContent = hw.say('alert.shown', { n: rows.length, all: history.rows.length });
  });
  hw.tell = function (answer) {
    const message = document.getElementById('message');
    message.textContent = answer.error || answer.text;
    message.classList.toggle('alarm', !!answer.error);
    message.hidden = false;
    clearTimeout(hw.messageTimer);
    hw.messageTimer = setTimeout(() => { message.hidden = true; }, 6000);
  };

  hw.on('acknowledge-answer', (answer) => {
    opened = null;
    hw.tell(answer);
    delete hw.latest['acknowledge-answer'];
    document.querySelectorAll('.alert-act').forEach((place) => { delete place.dataset.shows; });
    hw.paintAll();
  });
})();
