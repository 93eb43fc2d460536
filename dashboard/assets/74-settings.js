// The settings page: tables of people, keys, stand-ins and what is kept quiet, with what may be done to each. What is typed goes
// straight to the server; nothing of it, and no new key, stays in a store of the browser.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const FRESH_MS = 10000;
  const SURE_MS = 5000;
  let asked = -FRESH_MS;
  let told = null;
  let open = ''; // the row whose form is open

  async function load() {
    asked = performance.now();
    const answer = await fetch('/settings/all', { headers: { accept: 'application/json' }, cache: 'no-store' });
    const got = await answer.json();
    if (got.error) return hw.tell(got);
    told = got;
    paint();
  }

  async function act(request, done) {
    let got = {};
    try {
      const answer = await fetch('/settings/act', {
        method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json' }, body: JSON.stringify(request),
      });
      got = await answer.json();
    } catch { // no answer, or none that could be read
    }
    hw.tell(got.text || got.error ? got : { error: hw.say('settings.no_answer') });
    if (!got.text) return;
    if (got.secret) show(got);
    if (done) done();
    open = '';
    await load();
  }

  // a new key, until it is put away or the page is left
  function show(got) {
    const place = document.getElementById('settings-secret');
    const key = hw.el('code', '', got.secret);
    key.id = 'settings-new-key';
    const copy = button(hw.say('settings.copy'), () => navigator.clipboard && navigator.clipboard.writeText(got.secret));
    const away = button(hw.say('settings.put_away'), () => { place.replaceChildren(); place.hidden = true; });
    away.id = 'settings-put-away';
    place.replaceChildren(hw.el('p', '', hw.say('settings.shown_once')), key, ...(navigator.clipboard ? [copy] : []), away);
    place.hidden = false;
  }

  // --- parts -------------------------------------------------------------------------------------------------------

  function button(text, press, label) {
    const node = hw.el('button', '', text);
    node.type = 'button';
    if (label) node.setAttribute('aria-label', label);
    node.onclick = press;
    return node;
  }

  // what cannot be taken back is pressed twice
  function sure(text, press, label) {
    const node = button(text, () => {
      if (node.dataset.sure) return press();
      node.dataset.sure = 'yes';
      node.textContent = hw.say('settings.sure');
      node.classList.add('alarm');
      node.removeAttribute('aria-label');
      setTimeout(() => {
        delete node.dataset.sure;
        node.textContent = text;
        node.classList.remove('alarm');
        if (label) node.setAttribute('aria-label', label);
      }, SURE_MS);
    }, label);
    return node;
  }

  function field(name, label, more) {
    const node = hw.el('input');
    Object.assign(node, { name, placeholder: label, maxLength: 200, autocomplete: 'off' }, more);
    node.setAttribute('aria-label', label);
    return node;
  }

  function select(name, label, options, chosen) {
    const node = hw.el('select');
    node.name = name;
    node.setAttribute('aria-label', label);
    for (const [value, text] of options) node.append(new Option(text, value, false, value === chosen));
    return node;
  }

  // options that are names, which no language translates
  function named(options) {
    for (const option of options) option.className = 'name';
    return options;
  }

  function labelled(text, node) {
    const label = hw.el('label', '', text + ' ');
    label.append(node);
    return label;
  }

  function submits(form, request) {
    form.onsubmit = (event) => {
      event.preventDefault();
      act(request(form.elements), () => form.reset());
    };
  }

  function acts(...nodes) {
    const cell = hw.el('td', 'settings-acts');
    cell.append(...nodes);
    return cell;
  }

  function row(id, texts, ...more) {
    const tr = hw.el('tr');
    tr.id = id;
    for (const [text, mark] of texts) tr.append(hw.el('td', mark, text));
    tr.append(...more);
    return tr;
  }

  // a table is built anew only if what it shows is another
  function table(name, shows, rows) {
    const body = document.getElementById('settings-' + name);
    const mark = JSON.stringify([shows, open]);
    if (!body || body.dataset.shows === mark) return;
    body.dataset.shows = mark;
    const columns = body.parentElement.tHead.rows[0].cells.length;
    const none = hw.el('td', 'muted', hw.say('settings.none'));
    none.colSpan = columns;
    const empty = hw.el('tr');
    empty.append(none);
    body.replaceChildren(...(shows.length ? rows() : [empty]));
  }

  // --- people ------------------------------------------------------------------------------------------------------

  function person(p) {
    const role = select('role', hw.say('settings.role_of', { name: p.name }), told.roles, p.role);
    role.onchange = () => act({ act: 'change role', name: p.name, role: role.value });
    role.disabled = p.self;
    const roleCell = hw.el('td');
    roleCell.append(role);
    const cells = [
      button(hw.say('settings.new_password'), () => { open = open === p.name ? '' : p.name; paint(); },
        hw.say('settings.new_password_of', { name: p.name })),
    ];
    if (open === p.name) {
      const form = hw.el('form', 'settings-inline');
      const password = field('password', hw.say('settings.password'), { type: 'password', required: true, minLength: 8, autocomplete: 'new-password' });
      form.append(password, hw.el('button', 'acknowledge', hw.say('settings.set')));
      form.onkeydown = (event) => { if (event.key === 'Escape') { open = ''; paint(); } };
      submits(form, (e) => ({ act: 'set password', name: p.name, password: e.password.value }));
      cells.push(form);
      setTimeout(() => password.focus(), 0);
    }
    if (!p.self) {
      cells.push(p.active
        ? sure(hw.say('settings.lock_out'), () => act({ act: 'lock out', name: p.name }), hw.say('settings.lock_out_one', { name: p.name }))
        : button(hw.say('settings.let_in_again'), () => act({ act: 'let in', name: p.name }), hw.say('settings.let_in_one', { name: p.name })));
    }
    const tr = row('person-' + p.name, [[p.name, 'name']], roleCell);
    tr.append(hw.el('td', p.active ? '' : 'warning', p.state), hw.el('td', '', p.last), acts(...cells));
    return tr;
  }

  function peopleForm(form) {
    form.append(
      field('name', hw.say('settings.name'), { required: true }),
      select('role', hw.say('settings.role'), told.roles, 'operator'),
      field('password', hw.say('settings.password'), { type: 'password', required: true, minLength: 8, maxLength: 1000, autocomplete: 'new-password' }),
      hw.el('button', 'acknowledge', hw.say('settings.add_person')));
    submits(form, (e) => ({ act: 'add person', name: e.name.value, role: e.role.value, password: e.password.value }));
  }

  // --- keys of partners ----------------------------------------------------------------------------------------------

  function key(k) {
    const buttons = k.works ? [
      sure(hw.say('settings.renew'), () => act({ act: 'renew key', prefix: k.prefix, days: 7 }), hw.say('settings.renew_one', { prefix: k.prefix })),
      sure(hw.say('settings.revoke'), () => act({ act: 'revoke key', prefix: k.prefix }), hw.say('settings.revoke_one', { prefix: k.prefix })),
    ] : [];
    return row('key-' + k.prefix, [[k.prefix, 'name'], [k.partner, 'name'], [k.shows, 'wrap'], [k.made, ''], [k.expires, ''], [k.used, ''],
      [k.state, k.works ? '' : 'muted']], acts(...buttons));
  }

  function keysForm(form) {
    const partner = field('partner', hw.say('settings.partner'), { required: true });
    partner.setAttribute('list', 'settings-partners');
    const known = hw.el('datalist');
    known.id = 'settings-partners';
    known.append(...named(told.partners.map((name) => new Option(name, name))));
    const scopes = hw.el('fieldset');
    scopes.append(hw.el('legend', '', hw.say('settings.scopes')), ...told.scopes.map(([value, text]) => {
      const box = hw.el('input');
      Object.assign(box, { type: 'checkbox', name: 'scope', value });
      const label = hw.el('label');
      label.append(box, ' ' + text);
      return label;
    }));
    const days = field('days', hw.say('settings.days'), { type: 'number', min: 0, max: 3660, value: 365, required: true });
    form.append(partner, known, labelled(hw.say('settings.days'), days), hw.el('button', 'acknowledge', hw.say('settings.make_key')), scopes);
    submits(form, (e) => ({
      act: 'make key', partner: e.partner.value, days: Number(e.days.value),
      scopes: [...form.querySelectorAll('[name=scope]:checked')].map((box) => box.value),
    }));
  }

  // --- on call -------------------------------------------------------------------------------------------------------

  function changesForm(form) {
    form.hidden = !told.onCall.length;
    if (form.hidden) return;
    const when = (name, label, required) => labelled(label, field(name, label, { type: 'datetime-local', required }));
    form.append(
      select('schedule', hw.say('settings.schedule'), told.onCall.map((s) => [s.schedule, s.schedule])),
      select('person', hw.say('settings.stands_in'), told.staff),
      select('other', hw.say('settings.swaps_with'), [['', hw.say('settings.for_all')], ...told.staff]),
      when('start', hw.say('settings.from'), false), when('end', hw.say('settings.until'), true),
      field('note', hw.say('settings.why'), { maxLength: 500 }), hw.el('button', 'acknowledge', hw.say('settings.stand_in')),
      hw.el('span', 'muted', hw.say('settings.by_clocks')));
    named([...form.querySelectorAll('[name=schedule] option, [name=person] option, [name=other] option:not([value=""])')]);
    submits(form, (e) => ({
      act: 'stand in', schedule: e.schedule.value, person: e.person.value, other: e.other.value, start: e.start.value, end: e.end.value,
      note: e.note.value,
    }));
  }

  // --- all of it -------------------------------------------------------------------------------------------------------

  const FORMS = { people: peopleForm, keys: keysForm, changes: changesForm };

  function paint() {
    if (!told || !document.getElementById('settings-people')) return;
    for (const name in FORMS) {
      const form = document.getElementById('settings-' + name + '-form');
      if (!form.children.length) FORMS[name](form);
    }
    table('people', told.people, () => told.people.map(person));
    table('keys', told.keys, () => told.keys.map(key));
    table('oncall', told.onCall, () => told.onCall.map((s) =>
      row('schedule-' + s.schedule, [[s.schedule, 'name'], [s.person, s.nobody ? 'alarm' : 'name'], [s.until, '']])));
    table('changes', told.changes, () => told.changes.map((c) =>
      row('change-' + c.id, [[c.id, ''], [c.schedule, 'name'], [c.what, 'wrap'], [c.from, ''], [c.until, ''], [c.by, 'name wrap']],
        acts(button(hw.say('quiet.end'), () => act({ act: 'end stand-in', id: c.id }), hw.say('settings.end_one', { number: c.id }))))));
    table('quiet', told.quiet, () => told.quiet.map((q) =>
      row('kept-' + q.id, [[q.kindText, ''], [q.what + (q.rule ? hw.say('text.comma') + q.rule : ''), 'name'],
        [q.holds ? q.until : hw.say('quiet.from', { time: q.begins, until: q.until }), ''], [q.why, 'name wrap']],
      acts(...(q.byHand ? [button(hw.say('quiet.end'), () => act({ act: 'resume', id: q.id }),
        hw.say('quiet.end_one', { kind: q.kindText, object: q.what }))] : [])))));
  }

  hw.on('live-header', () => {
    if (!document.getElementById('settings-people')) {
      told = null;
      asked = -FRESH_MS;
      open = '';
      return;
    }
    if (performance.now() - asked >= FRESH_MS) load().catch(() => {}); // the banner tells a lost connection
    else paint();
  });
})();
