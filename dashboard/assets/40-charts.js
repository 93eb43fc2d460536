// Charts: the server sends numbers, the figure is made here. Plotly comes from this server like everything else.
(function () {
  'use strict';
  const hw = window.hallwatch;
  // Plotly's own listeners would outlive the page
  const CONFIG = { displayModeBar: false, responsive: false, scrollZoom: false, doubleClick: false };

  function layout(extra) {
    return Object.assign({
      paper_bgcolor: 'rgba(0,0,0,0)',
      plot_bgcolor: 'rgba(0,0,0,0)',
      margin: { l: 46, r: 12, t: 8, b: 26 },
      font: { family: 'system-ui, "DejaVu Sans", sans-serif', size: 12, color: hw.colour('soft') },
      hovermode: 'x unified',
      hoverlabel: { bgcolor: hw.colour('raised'), bordercolor: hw.colour('edge'), font: { color: hw.colour('text') } },
      showlegend: false,
      uirevision: 'keep',
    }, extra);
  }
  function axis(extra) {
    return Object.assign({ gridcolor: hw.colour('grid'), zeroline: false, linecolor: hw.colour('grid'), tickcolor: hw.colour('grid'), fixedrange: true,
      ticklabeloverflow: 'allow' }, extra);
  }
  // a time axis in the viewer's language
  function times(extra) {
    return axis(Object.assign({ type: 'date', tickformat: hw.say('chart.ticks'), hoverformat: hw.say('chart.hover') }, extra));
  }
  // Plotly is most of what a browser loads, and comes when the first chart is drawn: figures do not wait for it.
  let loading = null;
  function load() {
    if (loading) return;
    loading = hw.el('script');
    loading.src = document.documentElement.dataset.plotly;
    loading.onload = () => Object.keys(hw.latest).forEach((store) => setTimeout(() => hw.paint(store))); // a task each
    loading.onerror = () => { loading.remove(); loading = null; }; // the next figures ask again
    document.head.append(loading);
  }

  function draw(id, traces, shape) {
    const place = document.getElementById(id);
    if (!place) return;
    if (!window.Plotly) return load();
    if (place.data && !waiting.has(place)) return plot(place, traces, shape);
    if (!waiting.size) setTimeout(drawNext);
    waiting.set(place, [traces, shape]);
  }
  function plot(place, traces, shape) {
    window.Plotly.react(place, grown(traces), grown(layout(hw.noted ? hw.noted(shape) : shape)), CONFIG);
  }

  // A chart's first draw takes longest, and is a task of its own, or two: clicks and keys come between. Later ones are at once.
  const waiting = new Map(); // what was never drawn, and the newest that it is to show
  const begun = []; // what is done with a chart once there is something of it
  const ranged = (shape) => Object.entries(shape).every(([name, part]) => !/^[xy]axis/.test(name) || part.range);
  function drawOne() {
    const [[place, [traces, shape]]] = waiting;
    waiting.delete(place);
    if (!place.isConnected) return; // the page was left meanwhile
    const first = !place.data;
    const bare = first && ranged(shape); // the axes stay as they are when the lines come
    plot(place, bare ? [] : traces, shape);
    if (bare) waiting.set(place, [traces, shape]);
    if (first) begin(place);
  }
  function drawNext() {
    try {
      if (waiting.size) drawOne();
    } finally {
      if (waiting.size) setTimeout(drawNext);
    }
  }
  function drawAll() { // paper does not wait
    while (waiting.size) drawOne();
  }
  function begin(place) {
    begun.forEach((then) => then(place));
    place.on('plotly_clickannotation', (event) => hw.openNotes && event.annotation.name === 'note' && hw.openNotes());
    const size = () => place.clientWidth + ' ' + place.clientHeight;
    let drawn = size();
    new ResizeObserver(() => { // the panel may still grow or shrink while the page fills
      if (!place.isConnected || size() === drawn) return;
      drawn = size();
      window.Plotly.Plots.resize(place);
    }).observe(place);
  }
  // What a chart holds goes with its page.
  hw.left = (page) => page.querySelectorAll('.js-plotly-plot').forEach((place) => window.Plotly.purge(place));

  // On a wall a chart is not zoomed by the browser, which would have it take its labels for too long: it grows here.
  function grown(part) {
    const size = hw.zoom || 1;
    if (size === 1) return part;
    if (Array.isArray(part)) return part.map((one) => (one && typeof one === 'object' ? grown(one) : one));
    const large = Object.assign({}, part);
    if (part.xanchor) large.align = part.xanchor; // else a label stands in the middle of the room that was measured
    for (const [name, value] of Object.entries(part)) {
      // Plotly measures labels zoomed where the page is, and would leave the chart no room
      if (/^[xy]axis/.test(name) && value.automargin) large[name] = { ...value, automargin: false };
      if (['font', 'margin', 'line', 'hoverlabel', 'shapes', 'annotations', 'width', 'size', 'l', 'r', 't', 'b'].includes(name)) {
        large[name] = typeof value === 'number' ? value * size : value && typeof value === 'object' ? grown(value) : value;
      }
    }
    return large;
  }
  // The line that stands where now is, or the moment that is shown.
  function upright(x) {
    return { type: 'line', x0: x, x1: x, yref: 'paper', y0: 0, y1: 1, line: { color: hw.colour('muted'), width: 1, dash: 'dot' } };
  }
  hw.chart = { draw, drawAll, begun, axis, times, upright }; // for pages that have charts of their own

  // The line's tip: what the header told since the last series came.
  const MOST_TIPS = 900;
  let tip = { time: [], power: [] };
  let tipped = 0; // the moment that it is of
  hw.on('live-header', (header) => {
    if ((header.moment || 0) !== tipped) tip = { time: [], power: [] };
    tipped = header.moment || 0;
    const chart = hw.latest['live-power'];
    const [observed, watts] = header.power;
    if (!chart || watts === null) return;
    const time = observed + chart.offset;
    if (tip.time.length && tip.time[tip.time.length - 1] >= time) return;
    tip.time.push(time);
    tip.power.push(watts / 1e6);
    if (tip.time.length > MOST_TIPS) { // a page without the chart gets no series that would shorten it
      tip.time.shift();
      tip.power.shift();
    }
    const place = document.getElementById('power-chart');
    if (place && place.data && place.data.length) {
      const last = place.data.length - 1;
      window.Plotly.extendTraces(place, { x: [[time]], y: [[watts / 1e6]] }, [last]);
    }
  });

  // A forecast's bands and its middle.
  function fan(f, unit, digits) {
    const [low, quarter, middle, upper, high] = f.quantiles;
    const shape = '%{y:.' + digits + 'f} ' + unit;
    const band = (a, b, fill, name) => [
      { x: f.time, y: a, mode: 'lines', line: { width: 0 }, hoverinfo: 'skip' },
      { x: f.time, y: b, mode: 'lines', line: { width: 0 }, fill: 'tonexty', fillcolor: fill, name: name, hovertemplate: shape },
    ];
    return [
      ...band(low, high, hw.faint('forecast', 0.14), '95 %'),
      ...band(quarter, upper, hw.faint('forecast', 0.28), '75 %'),
      { x: f.time, y: middle, mode: 'lines', line: { color: hw.colour('forecast'), width: 1.5 }, name: hw.say('chart.expected'), hovertemplate: shape },
    ];
  }

  hw.on('live-power', (p) => {
    const place = document.getElementById('power-chart');
    if (!place) return;
    const newest = p.time.length ? p.time[p.time.length - 1] : 0;
    const keep = tip.time.findIndex((t) => t >= newest);
    tip = keep < 0 ? { time: [], power: [] } : { time: tip.time.slice(keep), power: tip.power.slice(keep) };
    const hours = Number(hw.chosen['forecast-span'] || 24);
    const start = p.now - 6 * 3600e3;
    const end = p.now + hours * 3600e3;
    const traces = [];
    const note = document.getElementById('forecast-note');
    if (p.fan) {
      traces.push(...fan(p.fan, 'MW', 2));
      traces.push({ x: p.fan.time, y: p.fan.risk, type: 'bar', yaxis: 'y2', name: hw.say('chart.risk'),
        marker: { color: p.fan.risk.map((r) => (r > 0.5 ? hw.colour('over') : r > 0.05 ? hw.colour('near') : hw.colour('risk'))), line: { width: 0 } },
        hovertemplate: '%{y:.1%}' });
      note.textContent = hw.say('chart.issued', { time: p.fan.issued }) + (p.fan.quality ? hw.say('text.comma') + p.fan.quality : '');
      note.title = p.fan.model;
    } else {
      note.textContent = hw.say('chart.no_forecast');
    }
    traces.push({ x: p.limitTime, y: p.limit, mode: 'lines', line: { color: hw.colour('vermilion'), width: 2, shape: 'hv', dash: 'dash' },
      name: hw.say('chart.limit'), hovertemplate: '%{y:.2f} MW' });
    traces.push({ ...hw.finer('power-chart', 1e6, { x: p.time, y: p.power }), mode: 'lines', line: { color: hw.colour('measured'), width: 2 }, name: hw.say('chart.measured'),
      connectgaps: false, hovertemplate: '%{y:.2f} MW' });
    traces.push({ x: tip.time.slice(), y: tip.power.slice(), mode: 'lines', line: { color: hw.colour('text'), width: 2 },
      name: hw.say('chart.now'), hovertemplate: '%{y:.2f} MW' });
    const inView = (values, times) => values.filter((v, i) => v !== null && times[i] >= start && times[i] <= end);
    const shown = inView(p.power, p.time).concat(inView(p.limit, p.limitTime), tip.power,
      p.fan ? inView(p.fan.quantiles[0], p.fan.time).concat(inView(p.fan.quantiles[4], p.fan.time)) : []);
    const bottom = shown.length ? Math.min(...shown) : 0;
    const top = shown.length ? Math.max(...shown) : 1;
    const pad = Math.max(0.02 * top, (top - bottom) * 0.08);
    draw('power-chart', traces, {
      uirevision: String(hw.stretch('power-chart')),
      xaxis: times({ fixedrange: false, range: hw.stretch('power-chart') || [start, end], nticks: 9, anchor: 'free', position: 0 }),
      yaxis: axis({ domain: [0.24, 1], range: [Math.max(0, bottom - pad), top + pad], ticksuffix: ' MW', nticks: 6, automargin: true }),
      yaxis2: axis({ domain: [0, 0.14], range: [0, 1], tickvals: [0, 1], ticktext: ['0', '100 %'], showgrid: false }),
      margin: { l: 66, r: 24, t: 6, b: 42 },
      bargap: 0,
      shapes: [upright(p.now)],
      annotations: [
        { x: 1, y: p.limit.length ? p.limit[p.limit.length - 1] : 0, xref: 'paper', xanchor: 'right', yanchor: 'bottom',
          showarrow: false, text: hw.say('chart.limit'), font: { size: 12, color: hw.colour('vermilion') } },
        { x: 1, y: 0.145, xref: 'paper', yref: 'paper', xanchor: 'right', yanchor: 'bottom', showarrow: false,
          text: p.fan ? hw.say('chart.risk_of') : '', font: { size: 11, color: hw.colour('muted') } },
      ],
    });
  });

  // --- history of a rack --------------------------------------------------------------------------------------------

  const CHARTS = [
    ['rack-chart-power', 'kW', [['RackPower', 'chart.power', 'measured']]],
    ['rack-chart-temperature', '\u00b0C', [
      ['RackLiquidReturnTemperature', 'chart.return', 'forecast'], ['RackLiquidSupplyTemperature', 'chart.supply', 'measured']]],
    ['rack-chart-flow', 'L/min', [['RackLiquidFlow', 'chart.flow', 'measured']]],
  ];
  hw.on('rack-history', (history) => {
    if (!hw.shown(history)) return;
    for (const [id, unit, lines] of CHARTS) {
      const traces = lines.filter(([type]) => history.lines[type]).map(([type, name, colour], i) => ({
        x: history.lines[type].time, y: history.lines[type].value, name: hw.say(name), mode: 'lines',
        line: { color: hw.colour(colour), width: 1.6, dash: i ? 'dot' : 'solid' }, connectgaps: false,
        hovertemplate: '%{y:.1f} ' + unit,
      }));
      const ahead = id === 'rack-chart-power' && history.fan;
      if (ahead) traces.unshift(...fan(history.fan, unit, 1));
      const empty = !traces.some((t) => t.y.length);
      draw(id, traces, {
        xaxis: times({ nticks: 6, range: [history.start, ahead ? history.ahead : history.end] }),
        yaxis: axis({ nticks: 4 }),
        margin: { l: 46, r: 12, t: 24, b: 24 },
        shapes: history.moment ? [upright(history.moment)] : [],
        annotations: [{ x: 0, y: 1, xref: 'paper', yref: 'paper', xanchor: 'left', yanchor: 'bottom', showarrow: false,
          text: lines.map((l) => '<span style="color:' + hw.colour(l[2]) + '">' + hw.say(l[1]) + '</span>').join(hw.say('text.comma')) + ' (' + unit + ')' +
            (history.momentText ? hw.say('text.comma') + hw.say('chart.as_at', { time: history.momentText }) : '') +
            (empty ? hw.say('text.colon') + (history.trouble || hw.say('chart.nothing')).replace(/</g, '&lt;') : ''),
          font: { size: 12, color: hw.colour('soft') } }],
      });
    }
  });

  hw.chart.fan = fan;
})();
