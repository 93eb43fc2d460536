// Time travel: ?at= in the address is the moment that is shown. A bar under the header chooses, steps and plays it; what is
// past can be mistaken for nothing else. Times are the site's wall clock.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const DAY_MS = 86400000;
  const STEPS = [[10, 'time.s10'], [60, 'time.m1'], [900, 'time.m15'], [3600, 'time.h1']];
  const SIGNS = { critical: '\u25b2', high: '\u25a0', warning: '\u25c6', info: '\u25cf' };
  const PLAY_MS = 1500;
  const SLIDE_MS = 250;
  let live = 0;      // the present by the server's clock, ms
  let playing = 0;
  let sliding = 0;
  let painted = null;
  let open = false;

  const frame = () => document.getElementById('console');
  const by = (id) => document.getElementById(id);
  const asked = (name) => new URLSearchParams(location.search).get(name);

  // --- the site's wall clock ------------------------------------------------------------------------------------------

  let clock = null;
  function wall(ms) { // such as 2026-11-27T03:00:00
    clock = clock || new Intl.DateTimeFormat('sv-SE', { timeZone: frame().dataset.zone, year: 'numeric', month: '2-digit', day: '2-digit',
      hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
    return clock.format(ms).replace(' ', 'T');
  }
  hw.wall = wall;
  const offset = (ms) => Date.parse(wall(ms) + 'Z') - Math.floor(ms / 1000) * 1000;
  function epoch(text) { // of a wall time of the site; of one that comes twice, the second
    const guess = Date.parse(text + 'Z');
    return guess - offset(guess - offset(guess));
  }
  function read(text) {
    if (!text) return 0;
    if (/^\d+$/.test(text)) return Number(text) < 1e11 ? Number(text) * 1000 : Number(text);
    const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text);
    return (zoned ? Date.parse(text) : epoch(text)) || 0;
  }
  function written(ms) { // as an address has it: by the wall clock, unless that tells another time
    const text = wall(ms).replace(/:00$/, '');
    return epoch(text) === Math.floor(ms / 1000) * 1000 ? text : String(Math.floor(ms / 1000));
  }

  // --- where we are ---------------------------------------------------------------------------------------------------

  hw.moment = 0;
  function moment() {
    const at = read(asked('at'));
    return at > 0 && at < (live || Date.now()) ? at : 0;
  }

  // An address of the console at the moment that is shown, or at one that is named: links keep it.
  hw.at = function (leads, ms) {
    const url = new URL(leads, location.href);
    const wanted = ms === undefined ? hw.moment : ms;
    if (ms === undefined && url.searchParams.has('at')) return leads;
    if (wanted) {
      url.searchParams.set('at', written(wanted));
      for (const name of ['from', 'until']) {
        if (ms === undefined && asked(name)) url.searchParams.set(name, asked(name));
      }
    } else {
      ['at', 'from', 'until', 'play'].forEach((name) => url.searchParams.delete(name));
    }
    return url.pathname + url.search;
  };

  function go(ms, quietly) {
    const ends = read(asked('until'));
    const wanted = ms < (live || Date.now()) - 1000 ? Math.max(ms, 1) : 0;
    const leads = new URL(hw.at(location.pathname + location.search, wanted), location.href);
    if (wanted && ends) ['from', 'until'].forEach((name) => asked(name) && leads.searchParams.set(name, asked(name)));
    leads.searchParams.delete('play');
    const url = leads.pathname + leads.search;
    if (quietly) {
      history.replaceState({}, '', url);
      window.dispatchEvent(new CustomEvent('_dashprivate_pushstate'));
    } else {
      hw.go(url, true);
    }
  }
  function now() {
    stop();
    open = false;
    hw.go(hw.at(location.pathname + location.search, 0), true);
  }

  // --- the bar --------------------------------------------------------------------------------------------------------

  function button(id, text, label, act) {
    const node = hw.el('button', '', text);
    Object.assign(node, { id: id, type: 'button', title: label, onclick: act });
    node.setAttribute('aria-label', label);
    return node;
  }

  function build(bar) {
    const told = hw.el('strong');
    told.id = 'past-told';
    told.setAttribute('role', 'status');
    const figures = hw.el('span', 'past-figures');
    figures.id = 'past-figures';
    const waiting = hw.el('a', 'past-waiting');
    Object.assign(waiting, { id: 'past-waiting', hidden: true });
    const waits = hw.el('span');
    waits.setAttribute('role', 'status');
    waits.append(waiting);
    waiting.onclick = (event) => { // alerts that wait now are taken now
      event.preventDefault();
      event.stopPropagation();
      stop();
      open = false;
      hw.go('/alerts', true);
    };
    waiting.href = '/alerts';
    const field = hw.el('input');
    Object.assign(field, { id: 'time-field', type: 'datetime-local', step: 1, title: hw.say('time.field') });
    field.setAttribute('aria-label', hw.say('time.field'));
    field.onchange = () => { if (field.value) { stop(); go(epoch(field.value.length === 16 ? field.value + ':00' : field.value)); } };
    const slider = hw.el('input');
    Object.assign(slider, { id: 'time-slider', type: 'range' });
    slider.setAttribute('aria-label', hw.say('time.slider'));
    slider.oninput = () => {
      stop();
      tell(Number(slider.value));
      clearTimeout(sliding);
      sliding = setTimeout(() => { sliding = 0; go(Number(slider.value), !!hw.moment); }, SLIDE_MS);
    };
    const step = hw.el('select');
    step.id = 'time-step';
    step.setAttribute('aria-label', hw.say('time.step'));
    step.title = hw.say('time.step');
    STEPS.forEach(([seconds, key]) => {
      const option = hw.el('option', '', hw.say(key));
      option.value = seconds;
      step.append(option);
    });
    step.value = '60';
    const move = (sign) => { stop(); go((hw.moment || live) + sign * 1000 * step.value); };
    const happened = (sign) => { stop(); hw.nextEvent(sign, hw.moment || live, live); };
    const marks = hw.el('div', 'time-events');
    marks.id = 'time-events';
    marks.setAttribute('role', 'toolbar');
    marks.setAttribute('aria-label', hw.say('time.events'));
    const track = hw.el('div', 'time-track');
    track.append(marks, slider);
    const event = hw.el('span', 'time-event-told');
    event.id = 'time-event';
    event.setAttribute('role', 'status');
    bar.append(told, waits, figures,
      button('time-back', '\u25c0', hw.say('time.back'), () => move(-1)), field,
      button('time-forward', '\u25b6', hw.say('time.forward'), () => move(1)), step,
      button('event-back', '\u21e4', hw.say('time.event_back'), () => happened(-1)),
      button('event-forward', '\u21e5', hw.say('time.event_forward'), () => happened(1)), event, track,
      button('time-play', hw.say('time.play'), hw.say('time.play_hint'), () => (playing ? stop() : play())),
      button('time-now', hw.say('time.now'), hw.say('time.now_hint'), now));
  }

  function tell(ms) {
    const field = by('time-field');
    if (field && document.activeElement !== field) field.value = wall(ms);
    by('time-slider').setAttribute('aria-valuetext', wall(ms).replace('T', ' '));
  }

  function range() {
    const from = read(asked('from'));
    const until = read(asked('until'));
    if (from && until > from) return [from, Math.min(until, live)];
    const end = hw.moment && hw.moment < live - DAY_MS ? Math.min(hw.moment + DAY_MS / 2, live) : live;
    return [end - DAY_MS, end];
  }

  function dress() {
    const bar = by('time-bar');
    if (!bar || !live) return;
    if (!bar.firstChild) build(bar);
    const past = hw.moment > 0;
    bar.hidden = !past && !open;
    by('time-open').setAttribute('aria-expanded', String(!bar.hidden));
    if (bar.hidden) return;
    const [low, high] = range();
    const slider = by('time-slider');
    if (!sliding) {
      Object.assign(slider, { min: low, max: high, step: high - low <= 7200000 ? 10000 : 60000 });
      slider.value = hw.moment || high;
      tell(hw.moment || live);
    }
    hw.eventsBetween(low, high);
    by('event-forward').disabled = !past;
    by('time-now').disabled = !past;
    by('time-forward').disabled = !past;
    by('time-play').disabled = !past;
  }

  hw.time = {
    go: (ms) => { stop(); go(ms); },
    tell: (text) => { eventTold = [text, 0]; event(); },
  };
  let eventTold = ['', 0]; // what happened at the moment that was gone to, and that moment
  function event() {
    const place = by('time-event');
    if (!place) return;
    if (!eventTold[1]) eventTold[1] = moment() || 1;
    if (eventTold[1] !== (moment() || 1)) eventTold[0] = '';
    place.textContent = place.title = eventTold[0];
  }

  // --- playing, from the moment that is shown to the end -----------------------------------------------------------------

  function stop() {
    clearInterval(playing);
    playing = 0;
    const node = by('time-play');
    if (node) node.textContent = hw.say('time.play');
  }
  function play() {
    const end = read(asked('until')) || live;
    if (hw.moment >= end && asked('from')) go(read(asked('from')), true);
    by('time-play').textContent = hw.say('time.pause');
    playing = setInterval(() => {
      if (document.body.classList.contains('past-loading')) return; // one moment after the other is seen
      const next = hw.moment + 1000 * by('time-step').value;
      if (!hw.moment || next > end) stop();
      else go(next, true);
    }, PLAY_MS);
  }

  function begin() { // a replay: from its own beginning, in steps by which it takes a minute or two
    const span = read(asked('until')) - read(asked('from'));
    by('time-step').value = String(span > 14400000 ? 900 : span > 1200000 ? 60 : 10);
    const url = new URL(location.href);
    url.searchParams.delete('play');
    history.replaceState({}, '', url.pathname + url.search);
    play();
  }

  // An incident leads to the console at its opening, and can be played from there to its end.
  hw.on('live-incident', (told) => {
    const head = document.querySelector('.incident-head');
    const shown = by('incident-shown');
    if (!head || !told.alert || !shown || shown.textContent !== told.lead) return;
    let place = by('incident-then');
    if (!place) {
      place = hw.el('span', 'incident-then');
      place.id = 'incident-then';
      for (const [id, key] of [['incident-moment', 'alert.then'], ['incident-replay', 'time.replay']]) {
        const link = hw.el('a', '', hw.say(key, { time: told.alert.openedText }));
        link.id = id;
        place.append(link);
      }
      head.append(place);
    }
    const from = Math.ceil(told.alert.opened / 1000) * 1000;
    const until = told.alert.cleared || live || Date.now();
    by('incident-moment').href = hw.at('/', from);
    by('incident-replay').href = hw.at(location.pathname, from) + '&from=' + from + '&until=' + Math.ceil(until / 1000) * 1000 + '&play=1';
  });

  // --- what is shown is what the address asks for ------------------------------------------------------------------------

  function refresh() {
    const wanted = moment();
    const present = (frame()?.dataset.present || '').split(' ').includes(location.pathname);
    document.body.classList.toggle('past', wanted > 0);
    document.body.classList.toggle('past-none', wanted > 0 && present);
    const none = by('past-none');
    if (none) none.hidden = !(wanted > 0 && present);
    const changed = wanted !== hw.moment;
    if (changed) {
      hw.moment = wanted;
      document.body.classList.add('past-loading');
      const told = by('past-told');
      if (told && wanted) told.textContent = hw.say('past.loading', { time: wall(wanted).replace('T', ' ') });
    }
    dress();
    event();
    if (changed) hw.paintAll();
    if (wanted && asked('play') && !playing && by('time-play')) begin();
  }
  const again = () => setTimeout(refresh, 0);
  window.addEventListener('popstate', again);
  window.addEventListener('_dashprivate_pushstate', again);

  (function ready() {
    if (frame()) refresh();
    else setTimeout(ready, 50);
  })();

  hw.on('live-past', (past) => {
    hw.lastFrame = performance.now();
    live = past.now;
    refresh();
    if ((past.moment || 0) !== hw.moment || !hw.moment) return;
    document.body.classList.remove('past-loading');
    by('past-told').textContent = past.text + (past.trouble ? ' \u00b7 ' + past.trouble : '');
    by('past-told').classList.toggle('alarm', !!past.trouble);
    const waiting = by('past-waiting');
    waiting.hidden = !past.waiting;
    waiting.textContent = past.waiting ? (SIGNS[past.worst] || '') + ' ' + past.waiting : '';
    by('past-figures').textContent = past.trouble ? '' : past.figures;
    document.title = past.text + ' \u00b7 Hallwatch';
  });
  hw.on('live-header', (header) => {
    if (header.moment) return;
    live = header.now;
    if (!hw.moment) document.body.classList.remove('past-loading');
    if (painted !== Math.floor(live / 60000) || hw.moment !== moment()) {
      painted = Math.floor(live / 60000);
      refresh();
    }
  });

  // Links within the console stay at the moment; one of Dash's own would go by what it was built with.
  document.addEventListener('click', (event) => {
    const link = event.target.closest && event.target.closest('a[href]');
    if (!link || !hw.moment || link.id === 'past-waiting' || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.target) return;
    const leads = link.getAttribute('href');
    if (!hw.own(leads)) return;
    event.preventDefault();
    event.stopPropagation();
    hw.go(leads);
  }, true);

  document.addEventListener('click', (event) => {
    if (!event.target.closest || !event.target.closest('#time-open') || !live) return;
    open = !hw.moment && by('time-bar').hidden;
    dress();
    if (open || hw.moment) by('time-field').focus();
  });
})();
