// Receives what the server pushes, keeps the newest of each section, and paints it where the page has a place for it.
// Everything is written with textContent: names come from devices and are never trusted as markup.
(function () {
  'use strict';

  // What was pushed of another moment than the one that is shown is not painted.
  const FRAME = ['live-past', 'live-session'];
  const ofMoment = (store, payload) => !store.startsWith('live-') || FRAME.includes(store) || (payload.moment || 0) === (console_.moment || 0);

  const console_ = {
    latest: {},      // newest payload by store id
    chosen: {},      // what the viewer chose, by radio group
    painters: {},    // store id -> functions
    lastFrame: 0,    // when the last header arrived, this machine's clock
    now: 0,          // the server's clock in that header, ms

    on(store, paint) {
      (this.painters[store] = this.painters[store] || []).push(paint);
    },
    paint(store) {
      const payload = this.latest[store];
      if (!payload || !ofMoment(store, payload)) return;
      for (const paint of this.painters[store] || []) {
        try {
          paint(payload);
        } catch (error) {
          console.error('painting', store, error);
        }
      }
    },
    paintAll() {
      Object.keys(this.latest).forEach((store) => this.paint(store));
    },
  };
  window.hallwatch = console_;

  // A text in the viewer's language, its {fields} filled in: the same words that the server has.
  console_.say = function (key, fields) {
    const text = (window.hallwatchWords || {})[key] || key;
    return fields ? text.replace(/\{(\w+)\}/g, (_, name) => fields[name]) : text;
  };
  console_.count = function (key, n, fields) {
    return console_.say(key + (n === 1 ? '.one' : '.more'), { n: n, ...fields });
  };

  // --- small tools -------------------------------------------------------------------------------------------------

  console_.el = function (tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined && text !== null) node.textContent = text;
    return node;
  };

  console_.write = function (node, cell) {
    if (!node || !cell) return;
    const [text, marks, title, observed, leads] = cell;
    if (node.textContent !== text) node.replaceChildren(text);
    if (leads) {
      if (!node.firstElementChild) node.replaceChildren(console_.el('a', 'thing', text));
      if (node.firstElementChild.getAttribute('href') !== leads) node.firstElementChild.href = leads;
    } else if (node.firstElementChild) {
      node.replaceChildren(text);
    }
    const kept = node.dataset.base === undefined ? (node.dataset.base = node.className) : node.dataset.base;
    const wanted = (kept + ' ' + (marks || '')).trim();
    if (node.className !== wanted) node.className = wanted;
    if ((node.title || '') !== (title || '')) node.title = title || '';
    if (observed) node.setAttribute('data-observed', observed);
  };

  // An object of the plant, as a link to its page: an element, or the cell of a table.
  const pageOf = (id) => '/object/' + encodeURIComponent(id);
  console_.link = function (id, className) {
    const link = console_.el('a', className);
    link.href = pageOf(id);
    return link;
  };
  console_.thing = (id) => [id, 'name', '', 0, id ? pageOf(id) : ''];

  console_.cells = function (cells) {
    for (const id in cells || {}) console_.write(document.getElementById(id), cells[id]);
  };

  console_.duration = function (ms) {
    const s = Math.max(0, ms / 1000);
    if (s < 120) return console_.say('span.seconds', { s: Math.round(s) });
    const m = Math.floor(s / 60);
    if (m < 120) return console_.say('span.minutes', { m: m });
    if (m < 2880) return console_.say('span.hours', { h: Math.floor(m / 60), m: String(m % 60).padStart(2, '0') });
    return console_.say('span.days', { d: Math.floor(m / 1440) });
  };

  // Fills a table body in place: rows keep their nodes, so that a selection or the keyboard focus survives.
  console_.rows = function (bodyId, rows) {
    const body = document.getElementById(bodyId);
    if (!body) return;
    const head = body.parentNode.tHead;
    const columns = head ? head.rows[0].cells.length : 1;
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((row, i) => {
      const tr = body.rows[i] || body.insertRow();
      if (tr.id !== row.id) tr.id = row.id;
      if (tr.className !== row.mark) tr.className = row.mark;
      if (row.bar !== undefined) tr.style.setProperty('--share', Math.min(1, row.bar || 0) * 100 + '%');
      while (tr.cells.length > row.cells.length) tr.deleteCell(-1);
      row.cells.forEach((cell, j) => {
        const td = tr.cells[j] || tr.insertCell();
        const wide = row.cells.length === 1 ? columns : 1; // a sentence instead of rows
        if (td.colSpan !== wide) td.colSpan = wide;
        td.dataset.base = '';
        console_.write(td, cell);
      });
    });
  };

  // --- what Dash calls ---------------------------------------------------------------------------------------------

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.console = {
    take(data, store) {
      if (data === undefined || data === null) return;
      console_.latest[store] = data;
      console_.paint(store);
    },
    choose(value, name) {
      console_.chosen[name] = value;
      console_.paintAll();
    },
  };

  // --- what the server pushes: JSON in the hidden elements of #live ---------------------------------------------------

  function taken(mutations) {
    const changed = new Set();
    for (const mutation of mutations) {
      const node = mutation.target;
      const place = (node.nodeType === Node.TEXT_NODE ? node.parentElement : node);
      if (place && place.parentElement && place.parentElement.id === 'live') changed.add(place);
    }
    for (const place of changed) {
      if (place.textContent) window.dash_clientside.console.take(JSON.parse(place.textContent), place.id);
    }
  }
  function watchLive() {
    const live = document.getElementById('live');
    if (!live) return setTimeout(watchLive, 50);
    new MutationObserver(taken).observe(live, { characterData: true, childList: true, subtree: true });
    taken([...live.children].map((target) => ({ target })));
  }
  watchLive();

  // --- links within the console change the page without loading it anew --------------------------------------------------

  console_.go = function (leads, left) { // at the moment that is shown, unless that is `left`
    history.pushState({}, '', console_.moment && !left ? console_.at(leads) : leads);
    window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'));
  };
  console_.own = (leads) => (document.getElementById('console')?.dataset.pages || '').split(' ').some((path) =>
    (path.endsWith('/') && path !== '/' ? leads.startsWith(path) : leads.split('?')[0] === path));
  document.addEventListener('click', (event) => {
    const link = event.target.closest && event.target.closest('a[href]');
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (!console_.own(link.getAttribute('href')) || link.target) return;
    event.preventDefault();
    console_.go(link.getAttribute('href'));
  });

  // --- header ------------------------------------------------------------------------------------------------------

  console_.on('live-header', (header) => {
    console_.lastFrame = performance.now();
    console_.now = header.now;
    console_.cells(header.cells);
    connection();
    const cells = header.cells;
    const alerts = cells['alert-count'][0];
    document.title = cells['site-power'][0] + (alerts === '0' ? '' : ' \u25b2' + alerts) + ' \u00b7 Hallwatch';
    document.querySelectorAll('[data-since]').forEach((node) => {
      const text = console_.duration(header.now - Number(node.dataset.since));
      if (node.textContent !== text) node.textContent = text;
    });
  });
  for (const store of ['cooling', 'supply', 'work']) {
    console_.on('live-' + store, (payload) => {
      console_.cells(payload.cells);
      if (payload.rows) console_.rows(store + '-rows', payload.rows);
    });
  }
  console_.on('live-health', (h) => {
    console_.cells(h.cells);
    for (const table of ['troubles', 'violations', 'quarantine', 'sources', 'ages', 'counters', 'store', 'forecast', 'worth', 'upkeep', 'instruments', 'clocks']) {
      console_.rows('health-' + table, h[table] || []);
    }
  });
  console_.on('live-session', (session) => {
    if (session.ended) location.assign('/login');
  });

  // --- colours for what scripts draw: those of the style sheet, in the theme that is shown -----------------------------

  const probe = document.createElement('span');
  let resolved = {};
  console_.colour = function (name) {
    if (resolved[name]) return resolved[name];
    if (!probe.isConnected) document.body.append(probe);
    probe.hidden = true;
    probe.style.color = 'var(--' + name + ')';
    return (resolved[name] = getComputedStyle(probe).color);
  };
  console_.faint = function (name, share) { // the same colour, so much of it
    return console_.colour(name).replace('rgb(', 'rgba(').replace(')', ', ' + share + ')');
  };
  console_.dark = function () {
    const [r, g, b] = console_.colour('ground').match(/\d+/g).map(Number);
    return r + g + b < 384;
  };
  console_.recolour = function () {
    resolved = {};
    console_.paintAll();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', console_.recolour);

  // --- a wall: as many pixels as a wall has, or asked for by ?wall=1; everything grows with the screen -------------------

  const WALL_PX = 2560;
  const WALL_LAYOUT_PX = 1440;
  function wall() {
    const asked = new URLSearchParams(location.search).get('wall');
    if (asked !== null) sessionStorage.setItem('wall', asked);
    const kept = sessionStorage.getItem('wall');
    const on = kept === '1' || (kept !== '0' && window.innerWidth >= WALL_PX);
    document.documentElement.classList.toggle('wall', on);
    console_.zoom = on ? Math.max(1, window.innerWidth / WALL_LAYOUT_PX) : 1;
    document.documentElement.style.setProperty('--zoom', console_.zoom);
  }
  window.addEventListener('resize', wall);
  wall();

  // --- how the viewer wants it: language and theme, kept by the server in cookies ------------------------------------

  function preferences() {
    const language = document.getElementById('language-choice');
    const theme = document.getElementById('theme-choice');
    if (!language || !theme) return;
    language.value = document.documentElement.lang;
    theme.value = document.documentElement.dataset.theme;
  }
  document.addEventListener('change', (event) => {
    const what = { 'language-choice': 'language', 'theme-choice': 'theme' }[event.target.id];
    if (!what) return;
    fetch('/preferences', { method: 'POST', body: new URLSearchParams({ [what]: event.target.value }) }).then((answer) => {
      if (answer.ok) location.reload();
    });
  });

  // --- connection: old figures must never look like live ones -----------------------------------------------------

  const QUIET_MS = 4000;
  const ASK_MS = 5000;
  let asked = 0;
  let back = 0;

  function connection() {
    const banner = document.getElementById('connection');
    if (!banner || !console_.lastFrame) return;
    const age = performance.now() - console_.lastFrame;
    const lost = age > QUIET_MS;
    document.body.classList.toggle('disconnected', lost);
    banner.hidden = !lost;
    if (!lost) {
      back = 0;
      return;
    }
    console_.write(document.getElementById('data-age'), ['> ' + console_.duration(age), 'alarm', console_.say('frame.no_connection')]);
    banner.textContent = console_.say('frame.disconnected', { age: console_.duration(age) });
    if (age > 12000 && performance.now() - asked > ASK_MS) ask();
  }

  // Dash gives up after some tries; asking the server itself tells when it is back, and whether the login still counts.
  function ask() {
    asked = performance.now();
    fetch('/alive', { headers: { accept: 'application/json' }, cache: 'no-store' }).then(
      (answer) => {
        if (answer.status === 401) location.assign('/login?next=' + encodeURIComponent(location.pathname + location.search));
        else if (answer.ok && !back) back = performance.now();
        else if (answer.ok && performance.now() - back > 8000) location.reload();
      },
      () => { back = 0; },
    );
  }
  setInterval(connection, 1000);

  // --- groups of radio buttons: what is chosen goes into Dash's hidden input, and is kept in this browser ---------------

  function dress(group) {
    const name = group.dataset.choice;
    const field = document.getElementById(name);
    const values = [...group.children].map((label) => label.dataset.value);
    const kept = localStorage.getItem('choice-' + name);
    const usual = field ? field.value : values[0];
    const chosen = values.includes(kept) ? kept : usual;
    for (const label of group.children) {
      const button = console_.el('input');
      Object.assign(button, { type: 'radio', name: name, value: label.dataset.value, checked: label.dataset.value === chosen });
      button.onchange = () => {
        localStorage.setItem('choice-' + name, button.value);
        window.dash_clientside.set_props(name, { value: button.value });
      };
      label.prepend(button);
    }
    group.dataset.dressed = 'yes';
    if (chosen !== usual) window.dash_clientside.set_props(name, { value: chosen });
  }
  function choices() {
    document.querySelectorAll('[data-choice]:not([data-dressed])').forEach(dress);
  }

  // --- a panel that can be scrolled must be reached by keyboard, where nothing in it can be -----------------------------

  const REACHED = 'a, button, input, select, [tabindex]';
  function scrollers() {
    // what Dash hides from a screen reader must not take the focus either
    document.querySelectorAll('.dash-dropdown-focus-target[tabindex="0"]').forEach((node) => { node.tabIndex = -1; });
    document.querySelectorAll('.panel-body').forEach((body) => {
      const scrolls = body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1;
      const needs = scrolls && !body.querySelector(REACHED);
      if (needs === (body.tabIndex === 0)) return;
      if (needs) {
        const title = body.parentElement.querySelector('h2');
        Object.assign(body, { tabIndex: 0, role: 'region' });
        body.setAttribute('aria-label', title ? title.textContent : '');
      } else {
        ['tabindex', 'role', 'aria-label'].forEach((name) => body.removeAttribute(name));
      }
    });
  }
  setInterval(scrollers, 2000);

  // --- a page that was just put in is painted at once --------------------------------------------------------------

  // The page that is shown; for a page of an object without a link of its own, none.
  function navigation() {
    document.querySelectorAll('#navigation a').forEach((link) => {
      if (location.pathname === link.getAttribute('href')) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    });
  }
  function watchPage() {
    const page = document.getElementById('page');
    if (!page) return setTimeout(watchPage, 50);
    new MutationObserver((changes) => {
      changes.forEach((change) => change.removedNodes.forEach((node) => node.querySelectorAll && console_.left(node)));
      navigation();
      choices();
      console_.paintAll();
    }).observe(page, { childList: true });
    preferences();
    navigation();
    choices();
    console_.paintAll();
  }
  watchPage();
})();
