// What happened when, as marks over the time slider: each leads to its moment, and the buttons beside it go from one to the next.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const SIGNS = { critical: '\u25b2', high: '\u25a0', warning: '\u25c6', note: '\u270e', limit: '\u2195', works: '\u2692' };
  const ORDER = Object.keys(SIGNS);
  const CELL_PX = 24; // what can be pressed with a finger, and is told apart
  const EDGE_PX = 8;  // the slider's thumb ends so far from its ends
  const FAR_MS = 30 * 86400000;
  const DAY_MS = 86400000;
  const MOST_NAMED = 6;
  let range = [0, 0];
  let asked = '';
  let found = [];
  const by = (id) => document.getElementById(id);
  // the first whole second at which it had happened: addresses have no finer ones
  const moment = (event) => Math.ceil(event.at / 1000) * 1000;
  const told = (event) => SIGNS[event.kind] + ' ' + event.time + ' ' + event.text;

  function ask(start, end) {
    return fetch('/events?start=' + Math.round(start) + '&end=' + Math.round(end), { headers: { accept: 'application/json' } })
      .then((answer) => (answer.ok ? answer.json() : []), () => []);
  }

  function go(event) {
    hw.time.go(moment(event));
    hw.time.tell(told(event));
  }

  // Marks that would lie on each other are one: its sign is that of the worst, its title names them.
  function gathered(width) {
    const [low, high] = range;
    const cells = new Map();
    for (const event of found) {
      const x = EDGE_PX + ((event.at - low) / (high - low)) * (width - 2 * EDGE_PX);
      const cell = Math.floor(x / CELL_PX);
      if (!cells.has(cell)) cells.set(cell, { x: x, events: [] });
      cells.get(cell).events.push(event);
    }
    let last = -CELL_PX;
    return [...cells.values()].map((cell) => {
      last = Math.min(Math.max(cell.x, last + CELL_PX), width - CELL_PX / 2);
      return { x: last, events: cell.events };
    });
  }

  function mark(cell) {
    const worst = cell.events.reduce((a, b) => (ORDER.indexOf(b.kind) < ORDER.indexOf(a.kind) ? b : a));
    const node = hw.el('button', 'time-event ' + worst.kind, SIGNS[worst.kind]);
    const names = cell.events.slice(0, MOST_NAMED).map(told);
    if (cell.events.length > MOST_NAMED) names.push(hw.say('time.further', { n: cell.events.length - MOST_NAMED }));
    Object.assign(node, { type: 'button', tabIndex: -1, title: names.join('\n'), onclick: () => go(worst) });
    node.setAttribute('aria-label', names.join('; '));
    node.dataset.at = worst.at;
    node.style.left = cell.x + 'px';
    return node;
  }

  function paint() {
    const strip = by('time-events');
    if (!strip || !strip.clientWidth) return;
    const held = strip.contains(document.activeElement) ? document.activeElement.dataset.at : '';
    strip.replaceChildren(...gathered(strip.clientWidth).map(mark));
    const first = [...strip.children].find((node) => node.dataset.at === held) || strip.lastElementChild;
    if (first) first.tabIndex = 0; // one of them is reached by the tabulator, the others from it by arrows
    if (held && first) first.focus();
  }

  // The slider shows another time: what happened then is asked for, once a minute at most while it only grows.
  hw.eventsBetween = function (low, high) {
    range = [low, high];
    const now = Math.floor(low / 60000) + ' ' + Math.floor(high / 60000);
    if (now === asked) return;
    asked = now;
    ask(low, high).then((events) => {
      if (asked !== now) return;
      found = events;
      paint();
    });
  };
  hw.on('live-notes', () => { asked = ''; });

  // The next event after the moment that is shown, or the last before it, also beyond what the slider shows.
  hw.nextEvent = async function (sign, shown, live) {
    const fits = (events) => (sign > 0 ? events.find((e) => moment(e) > shown) : events.filter((e) => moment(e) < shown).pop());
    const spans = sign > 0 ? [[shown, Math.min(shown + DAY_MS, live)], [shown, live]] : [[shown - DAY_MS, shown], [shown - FAR_MS, shown]];
    let next = null;
    for (const [start, end] of spans) next = next || fits(await ask(start, end));
    if (next) go(next);
    else hw.time.tell(hw.say(sign > 0 ? 'time.none_after' : 'time.none_before'));
  };

  document.addEventListener('keydown', (event) => {
    const strip = event.target.closest && event.target.closest('#time-events');
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!strip || !step) return;
    const marks = [...strip.children];
    const next = marks[marks.indexOf(event.target) + step];
    if (!next) return;
    event.preventDefault();
    marks.forEach((node) => { node.tabIndex = node === next ? 0 : -1; });
    next.focus();
  });
  window.addEventListener('resize', paint);
})();
