// The forecast page: the fan as issued and what came, scores over time, and what if, drawn on the same chart.
(function () {
  'use strict';
  const hw = window.hallwatch;

  function here(told) {
    const chosen = document.getElementById('foretold-chart');
    return !!chosen && !!told;
  }

  hw.on('foretold', (told) => {
    if (!here(told)) return;
    if (told.trouble) {
      hw.write(document.getElementById('foretold-issued'), [told.trouble, 'alarm']);
      return;
    }
    hw.cells(told.cells);
    hw.rows('ramp-rows', told.ramps);
    hw.rows('planned-rows', told.planned.length ? told.planned : [{ id: 'job-none', mark: '', cells: [[hw.say('foretold.none_planned'), 'muted']] }]);
    paint(told);
    worth(told.worth, told.chart.now);
    form(told);
  });

  function paint(told) {
    const c = told.chart;
    const { draw, axis, times, fan } = hw.chart;
    const [measured, limit, other, muted] = ['measured', 'vermilion', 'other', 'muted'].map(hw.colour);
    const answer = hw.latest['whatif-answer'];
    const what = answer && !answer.error && answer.site === told.node ? answer : null;
    const traces = [];
    const digits = c.unit === 'MW' ? 2 : 0;
    if (c.fan) {
      traces.push(...fan(c.fan, c.unit, digits));
      traces.push({ x: c.fan.time, y: c.fan.risk, type: 'bar', yaxis: 'y2', name: hw.say('foretold.risk'),
        marker: { color: c.fan.risk.map((r) => hw.colour(r > 0.5 ? 'over' : r > 0.05 ? 'near' : 'risk')), line: { width: 0 } },
        hovertemplate: '%{y:.1%}' });
    }
    if (what && what.fan) {
      const [low, , middle, , high] = what.fan.quantiles;
      const line = { color: other, width: 1, dash: 'dot' };
      const text = '%{y:.2f} MW';
      traces.push({ x: what.fan.time, y: low, mode: 'lines', line, hoverinfo: 'skip' });
      traces.push({ x: what.fan.time, y: high, mode: 'lines', line, fill: 'tonexty', fillcolor: hw.faint('other', 0.14), hoverinfo: 'skip' });
      traces.push({ x: what.fan.time, y: middle, mode: 'lines', line: { color: other, width: 2.5 }, name: hw.say('foretold.what_if'), hovertemplate: text });
    }
    traces.push({ x: c.limitTime, y: c.limit, mode: 'lines', line: { color: limit, width: 2, shape: 'hv', dash: 'dash' },
      name: hw.say('foretold.limit'), hovertemplate: '%{y:.' + digits + 'f} ' + c.unit });
    if (what && what.limit && what.fan && Math.abs(what.limit[0] - c.limit[c.limit.length - 1]) > 1e-6) {
      traces.push({ x: [what.fan.time[0], what.fan.time[what.fan.time.length - 1]], y: [what.limit[0], what.limit[0]], mode: 'lines',
        line: { color: other, width: 2, dash: 'dash' }, hoverinfo: 'skip' });
    }
    traces.push({ ...hw.finer('foretold-chart', c.unit === 'MW' ? 1e6 : 1e3, { x: c.time, y: c.power }),
      mode: 'lines', line: { color: measured, width: 2 }, name: hw.say('foretold.measured'),
      connectgaps: false, hovertemplate: '%{y:.' + digits + 'f} ' + c.unit });
    if (c.came.some((v) => v !== null)) {
      traces.push({ x: c.cameTime, y: c.came, mode: 'markers', marker: { color: hw.colour('text'), size: 4 }, name: hw.say('foretold.came'),
        hovertemplate: '%{y:.' + digits + 'f} ' + c.unit });
    }
    const start = c.time.length ? c.time[0] : c.limitTime[0];
    const end = c.fan && c.fan.time.length ? c.fan.time[c.fan.time.length - 1] : c.now;
    const shown = [...c.power, ...c.limit, ...(c.fan ? [...c.fan.quantiles[0], ...c.fan.quantiles[4]] : []),
      ...(what && what.fan ? [...what.fan.quantiles[0], ...what.fan.quantiles[4]] : [])].filter((v) => v !== null);
    const bottom = shown.length ? Math.min(...shown) : 0;
    const top = shown.length ? Math.max(...shown) : 1;
    const pad = Math.max(0.01 * top, (top - bottom) * 0.08);
    draw('foretold-chart', traces, {
      uirevision: told.node + hw.stretch('foretold-chart'),
      xaxis: times({ fixedrange: false, range: hw.stretch('foretold-chart') || [start, end], nticks: 12, anchor: 'free', position: 0 }),
      yaxis: axis({ domain: [0.24, 1], range: [Math.max(0, bottom - pad), top + pad], ticksuffix: ' ' + c.unit, nticks: 7, automargin: true }),
      yaxis2: axis({ domain: [0, 0.14], range: [0, 1], tickvals: [0, 1], ticktext: ['0', '100 %'], showgrid: false }),
      margin: { l: 66, r: 24, t: 6, b: 42 },
      bargap: 0,
      shapes: [{ type: 'line', x0: c.now, x1: c.now, yref: 'paper', y0: 0, y1: 1, line: { color: muted, width: 1, dash: 'dot' } }],
      annotations: [
        { x: c.now, y: 1, yref: 'paper', xanchor: 'left', yanchor: 'top', showarrow: false, text: hw.say('foretold.now'), font: { size: 11, color: muted } },
        { x: 1, y: 0.145, xref: 'paper', yref: 'paper', xanchor: 'right', yanchor: 'bottom', showarrow: false,
          text: c.fan ? hw.say('foretold.risk') : '', font: { size: 11, color: muted } },
        ...(what ? [{ x: 0.99, y: 0.99, xref: 'paper', yref: 'paper', xanchor: 'right', yanchor: 'top', showarrow: false,
          text: hw.say('foretold.what_if'), font: { size: 12, color: other } }] : []),
      ],
    });
    const chart = document.getElementById('foretold-chart');
    chart.dataset.shows = what ? 'whatif' : 'issued';
  }

  const WEEK_MS = 7 * 24 * 3600e3;
  function worth(w, now) {
    const { draw, axis, times } = hw.chart;
    const colours = ['measured', 'forecast', 'other'].map(hw.colour);
    document.getElementById('worth-chart').hidden = !w.time.length;
    if (!w.time.length) return;
    const traces = w.leads.flatMap((lead, i) => [
      { x: w.time, y: lead.coverage, mode: 'lines+markers', marker: { size: 3 }, line: { color: colours[i], width: 1.5 }, name: lead.name, hovertemplate: '%{y} %' },
      { x: w.time, y: lead.error, yaxis: 'y2', mode: 'lines+markers', marker: { size: 3 }, line: { color: colours[i], width: 1.5 }, name: lead.name, hovertemplate: '%{y} kW' },
    ]);
    const title = (y, text) => ({ x: 0, y, xref: 'paper', yref: 'paper', xanchor: 'left', yanchor: 'bottom', showarrow: false, text, font: { size: 11, color: hw.colour('soft') } });
    draw('worth-chart', traces, {
      xaxis: times({ nticks: 6, anchor: 'y2', range: [now - WEEK_MS, now] }),
      yaxis: axis({ domain: [0.56, 0.94], range: [0, 103], nticks: 4, ticksuffix: ' %' }),
      yaxis2: axis({ domain: [0, 0.4], rangemode: 'tozero', nticks: 4, ticksuffix: ' kW' }),
      margin: { l: 60, r: 10, t: 8, b: 40 }, // hours, and their day below
      shapes: [{ type: 'line', xref: 'paper', x0: 0, x1: 1, y0: w.nominal, y1: w.nominal, line: { color: hw.colour('muted'), width: 1, dash: 'dash' } }],
      annotations: [
        title(0.95, hw.say('foretold.coverage') + ': ' + w.leads.map((l, i) => '<span style="color:' + colours[i] + '">' + l.name + '</span>').join(', ')),
        title(0.41, hw.say('foretold.error')),
      ],
    });
  }

  // --- what if ------------------------------------------------------------------------------------------------------

  const FIELDS = [['racks', 'foretold.ask_racks', 1], ['in', 'foretold.ask_in', 0.5], ['hours', 'foretold.ask_hours', 0.5]];

  function field(label, node) {
    const box = hw.el('label');
    box.append(hw.el('span', '', label), node);
    return box;
  }
  function number(name, least, step) {
    const node = hw.el('input');
    node.type = 'number';
    node.name = name;
    node.step = step;
    if (least !== null) node.min = least;
    return node;
  }
  function select(name, options) {
    const node = hw.el('select');
    node.name = name;
    node.setAttribute('aria-label', hw.say('foretold.ask_move'));
    for (const [value, text] of options) {
      const option = hw.el('option', '', text);
      option.value = value;
      node.append(option);
    }
    return node;
  }

  function form(told) {
    const place = document.getElementById('whatif-form');
    if (!place) return;
    const jobs = told.planned.map((p) => [p.job, p.cells[0][0]]);
    if (!place.children.length) build(place);
    const job = place.elements.namedItem('job');
    const wanted = JSON.stringify(jobs);
    if (job && job.dataset.jobs !== wanted) {
      const kept = job.value;
      job.replaceWith(Object.assign(select('job', [['', '\u2014'], ...jobs])));
      const fresh = place.elements.namedItem('job');
      fresh.dataset.jobs = wanted;
      fresh.value = kept;
    }
  }

  function build(place) {
    const units = JSON.parse(document.getElementById('whatif-units').textContent);
    const none = ['', '\u2014'];
    const lose = [0, 1].map(() => select('lose', [none, ...units.map((u) => [u, u])]));
    const asked = new URLSearchParams(location.search).getAll('lose');
    lose.forEach((node, i) => { if (asked[i]) node.value = asked[i]; });
    const group = (title, ...fields) => {
      const set = hw.el('fieldset');
      set.append(hw.el('legend', '', title), ...fields);
      return set;
    };
    const yes = hw.el('button', 'acknowledge', hw.say('foretold.ask'));
    yes.id = 'whatif-ask';
    const no = hw.el('button', '', hw.say('foretold.clear'));
    no.type = 'button';
    no.id = 'whatif-clear';
    no.onclick = () => {
      place.reset();
      delete hw.latest['whatif-answer'];
      document.getElementById('whatif-lines').replaceChildren();
      hw.paint('foretold');
    };
    place.append(
      group(hw.say('foretold.ask_lose'), ...lose),
      group(hw.say('foretold.ask_job'), ...FIELDS.map(([name, key, step]) => field(hw.say(key), number(name, 0, step)))),
      group(hw.say('foretold.ask_move'), select('job', [none]), field(hw.say('foretold.ask_by'), number('by', null, 0.5))),
      group(hw.say('foretold.ask_other'), field(hw.say('foretold.ask_limit'), number('limit', 0, 0.1)), field(hw.say('foretold.ask_warmer'), number('warmer', 0, 0.5))),
    );
    const acts = hw.el('div', 'whatif-acts');
    acts.append(yes, no);
    place.append(acts);
    lose.forEach((node) => node.setAttribute('aria-label', hw.say('foretold.ask_lose')));
    place.onsubmit = (event) => {
      event.preventDefault();
      const of = (name) => (place.elements.namedItem(name) || {}).value;
      yes.disabled = true;
      window.dash_clientside.set_props('whatif-request', {
        data: {
          lost: [...place.querySelectorAll('select[name=lose]')].map((s) => s.value).filter(Boolean),
          racks: of('racks'), in: of('in'), hours: of('hours'), job: of('job'), by: of('by'),
          limit: of('limit'), warmer: of('warmer'), at: Date.now(),
        },
      });
    };
    if (asked.length) place.requestSubmit();
  }

  hw.on('whatif-answer', (answer) => {
    const place = document.getElementById('whatif-lines');
    if (!place) return;
    const button = document.getElementById('whatif-ask');
    if (button) button.disabled = false;
    if (answer.error) {
      place.replaceChildren(hw.el('p', 'value alarm', answer.error));
      return;
    }
    const lines = answer.lines.map(([text, mark]) => hw.el('p', 'value ' + mark, text));
    place.replaceChildren(...lines, hw.el('p', 'muted', answer.assumes));
    const told = hw.latest.foretold;
    if (told && told.chart && here(told)) paint(told);
  });
})();
