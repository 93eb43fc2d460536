// Zooming into a chart of power: a stretch of time is dragged, and the line there comes anew as finely as the pixels show it.
// Twice clicked, or with Escape, all is shown again. Those who do not drag: + and - zoom, the arrow keys move.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const zooms = new Map(); // by chart: the stretch (wall ms), the line there, and what is asked for
  const CHARTS = {
    'power-chart': {
      store: 'live-power',
      of: (p) => ({ node: p.site, offset: p.offset, now: p.now }),
    },
    'foretold-chart': {
      store: 'foretold',
      of: (t) => ({ node: t.node, offset: t.chart.offset, now: t.chart.now }),
    },
  };
  const LEAST_MS = 60e3;
  const wall = (x) => (typeof x === 'number' ? x : Date.parse(x.replace(' ', 'T') + 'Z'));

  async function ask(id) {
    const zoom = zooms.get(id);
    const { store, of } = CHARTS[id];
    const told = hw.latest[store];
    if (!zoom || !told) return;
    const { node, offset } = of(told);
    const place = document.getElementById(id);
    const [start, end] = zoom.range.map((x) => Math.round(x - offset));
    const asked = (zoom.asked = {});
    const query = new URLSearchParams({ node, start, end, points: Math.round(place.clientWidth / (hw.zoom || 1)) });
    const at = new URLSearchParams(location.search).get('at');
    if (at) query.set('at', at);
    const answer = await fetch('/zoomed/power?' + query).catch(() => null);
    if (!answer || !answer.ok || zooms.get(id) !== zoom || zoom.asked !== asked) return;
    zoom.line = await answer.json();
    document.getElementById(id).dataset.step = zoom.line.step; // ms: how fine the line is
    hw.paint(store);
  }

  // what a chart shows where it is not all: the stretch, wall ms, and its line, times and values divided by `scale`
  hw.stretch = (id) => zooms.get(id)?.range;
  hw.finer = function (id, scale, otherwise) {
    const line = zooms.get(id)?.line;
    return line ? { x: line.time, y: line.power.map((v) => (v === null ? null : v / scale)) } : otherwise;
  };

  function whole(id) {
    if (!zooms.delete(id)) return;
    delete document.getElementById(id).dataset.step;
    hw.paint(CHARTS[id].store);
  }

  function moved(id, event) {
    const range = event['xaxis.range'] || [event['xaxis.range[0]'], event['xaxis.range[1]']];
    if (event['xaxis.autorange']) return whole(id);
    if (range[0] === undefined || range[1] === undefined) return;
    zooms.set(id, { range: range.map(wall) });
    ask(id);
  }

  function press(id, event) {
    const place = document.getElementById(id);
    if (!place._fullLayout) return;
    if (event.key === 'Escape' && zooms.has(id)) {
      whole(id);
      return;
    }
    const [a, b] = place._fullLayout.xaxis.range.map(wall);
    const { now } = CHARTS[id].of(hw.latest[CHARTS[id].store]);
    const span = b - a;
    const middle = zooms.has(id) ? (a + b) / 2 : now - span / 4; // at first what was just measured
    const next = {
      '+': () => [middle - span / 4, middle + span / 4],
      '=': () => [middle - span / 4, middle + span / 4],
      '-': () => [middle - span, middle + span],
      ArrowLeft: () => [a - span / 4, b - span / 4],
      ArrowRight: () => [a + span / 4, b + span / 4],
    }[event.key];
    if (!next) return;
    event.preventDefault();
    const range = next();
    if (range[1] - range[0] < LEAST_MS) return;
    const written = range.map((ms) => new Date(ms).toISOString().slice(0, -1).replace('T', ' ')); // numbers would make the axis one of numbers
    window.Plotly.relayout(place, { 'xaxis.range': written });
  }

  hw.chart.begun.push((place) => {
    const id = place.id;
    if (!CHARTS[id]) return;
    zooms.delete(id);
    place.dataset.zooms = 'yes';
    place.tabIndex = 0;
    place.setAttribute('aria-description', hw.say('chart.zoom'));
    place.on('plotly_relayout', (event) => moved(id, event));
    place.on('plotly_doubleclick', () => whole(id));
    place.addEventListener('keydown', (event) => press(id, event));
  });
})();
