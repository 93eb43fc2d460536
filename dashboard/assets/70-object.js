// The page of an object: its readings, the past of one of them, what is around it.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const here = (told) => {
    const title = document.getElementById('object-title');
    return !!title && title.textContent === told.object;
  };

  function mark() { // the reading whose past is shown
    const history = hw.latest['object-history'];
    if (!history || !here(history)) return;
    document.querySelectorAll('#object-points a').forEach((link) => {
      const is = new URLSearchParams(link.getAttribute('href').split('?')[1]).get('point') === history.key;
      if (is) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    });
  }

  const GRADES = { fault: 'alarm', degraded: 'warning', notice: '' };
  function findings(found) { // what was found on it, and what to do
    const place = document.getElementById('object-findings');
    const wanted = JSON.stringify(found.map((f) => f.slice(0, 2)));
    if (!place || place.dataset.shown === wanted) return;
    place.dataset.shown = wanted;
    place.replaceChildren(...found.map(([grade, text, , mark]) => {
      const row = hw.el('p', 'finding');
      const told = hw.el('span', '', text);
      row.append(hw.el('strong', 'value ' + GRADES[mark], grade), told);
      return row;
    }));
  }

  hw.on('live-object', (told) => {
    if (!here(told)) return;
    const kind = document.getElementById('object-kind');
    if (kind.textContent !== told.kind) kind.textContent = told.kind;
    hw.rows('object-points', told.rows);
    findings(told.findings);
    mark();
    const place = document.getElementById('object-around');
    const wanted = JSON.stringify(told.around);
    if (place.dataset.shown === wanted) return; // the keyboard focus stays where it is
    place.dataset.shown = wanted;
    place.replaceChildren(...told.around.map(([label, ids]) => {
      const row = hw.el('div', 'path');
      row.append(hw.el('span', 'muted', label));
      ids.forEach((id) => row.append(Object.assign(hw.link(id, 'step'), { textContent: id })));
      return row;
    }));
    if (!told.around.length) place.replaceChildren(hw.el('div', 'muted', hw.say('object.alone')));
  });

  hw.on('audit-trail', (trail) => {
    hw.rows('audit-rows', trail.rows);
    const told = document.getElementById('audit-told');
    if (told) told.textContent = trail.told;
  });

  hw.on('object-history', (history) => {
    if (!here(history)) return;
    mark();
    const empty = !history.time.length;
    const p = history.peers || {};
    const line = (y, more) => ({ x: p.time, y: y, mode: 'lines', line: { width: 0 }, connectgaps: false, ...more });
    const beside = (p.time || []).length ? [
      line(p.low, { hoverinfo: 'skip' }),
      line(p.high, { fill: 'tonexty', fillcolor: hw.faint('muted', 0.18), hoverinfo: 'skip' }),
      line(p.middle, { name: hw.say('object.usual'), line: { color: hw.colour('muted'), width: 1.2, dash: 'dot' }, hovertemplate: '%{y} ' + history.unit }),
    ] : [];
    const title = history.point + (history.unit ? ' (' + history.unit + ')' : '') +
      (beside.length ? hw.say('text.comma') + hw.say('object.peers_shown') : '') +
      (history.momentText ? hw.say('text.comma') + hw.say('chart.as_at', { time: history.momentText }) : '') +
      (empty ? hw.say('text.colon') + (history.trouble || hw.say('chart.nothing')) : '');
    hw.chart.draw('object-chart', [...beside, {
      x: history.time, y: history.value, mode: 'lines', name: history.point.replace(/</g, '&lt;'), connectgaps: false,
      line: { color: hw.colour('measured'), width: 1.6 }, hovertemplate: '%{y} ' + history.unit,
    }], {
      xaxis: hw.chart.times({ nticks: 6, range: [history.start, history.end] }),
      yaxis: hw.chart.axis({ nticks: 6, automargin: true }),
      margin: { l: 56, r: 12, t: 28, b: 42 },
      annotations: [{ x: 0, y: 1, xref: 'paper', yref: 'paper', xanchor: 'left', yanchor: 'bottom', showarrow: false,
        text: title.replace(/</g, '&lt;'), font: { size: 12, color: hw.colour('soft') } }],
    });
  });
})();
