// Reports: which one, its tables and chart; on paper by the browser's own print, as a file by the server or from the tables.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const TABLES = ['envelope', 'energy', 'over', 'parts', 'incidents', 'alarms', 'contract'];
  let back = null;
  let spanned = null;
  let go = null;

  hw.on('report', (told) => {
    if (!document.getElementById('report-chart')) { back = null; return; }
    acts();
    if (spanned !== span()) { // another span begins with its newest
      spanned = span();
      go(-back);
    }
    if (told.trouble) {
      hw.write(document.getElementById('report-state'), [told.trouble, 'alarm']);
      return;
    }
    hw.cells(told.cells);
    for (const table of TABLES) hw.rows('report-' + table, told[table]);
    const file = document.getElementById('report-file');
    if (file.getAttribute('href') !== told.file) file.setAttribute('href', told.file);
    const { draw, axis, times } = hw.chart;
    const c = told.chart;
    const line = (y, colour, name, more) => ({ x: c.time, y, mode: 'lines', name, connectgaps: false, hovertemplate: '%{y:.2f} MW',
      line: Object.assign({ color: hw.colour(colour), width: 1.8, shape: 'hv' }, more) });
    draw('report-chart', [
      line(c.load, 'muted', hw.say('report.it')),
      line(c.limit, 'vermilion', hw.say('report.limit'), { dash: 'dash' }),
      line(c.power, 'measured', hw.say('report.site')),
    ], {
      xaxis: times({ nticks: 10 }), yaxis: axis({ ticksuffix: ' MW', nticks: 5, rangemode: 'tozero' }), margin: { l: 66, r: 24, t: 6, b: 36 },
    });
  });

  function acts() {
    const before = document.getElementById('report-before');
    if (!before || before.dataset.ready) return;
    before.dataset.ready = 'yes';
    const asked = Number(new URLSearchParams(location.search).get('back') || 0);
    if (back === null) back = asked;
    const move = (by) => {
      back = Math.max(0, back + by);
      const wanted = new URL(location.href);
      wanted.searchParams.set('back', back);
      wanted.searchParams.set('span', span());
      history.replaceState(history.state, '', wanted);
      window.dash_clientside.set_props('report-back', { data: back });
    };
    before.onclick = () => move(1);
    document.getElementById('report-after').onclick = () => move(-1);
    document.getElementById('report-print').onclick = () => window.print();
    document.getElementById('report-tables').onclick = tables;
    spanned = span();
    go = move;
  }
  const span = () => hw.chosen['report-span'] || 'day';

  // what is shown, as a file: every table under its title; a text that a spreadsheet would run is made a text
  function tables() {
    const quoted = (text) => {
      const plain = /^\s*[=+\-@\t\r]/.test(text) && !/^[+-]?[\d.,]+( |$)/.test(text) ? "'" + text : text;
      return '"' + plain.replace(/"/g, '""') + '"';
    };
    const lines = [];
    document.querySelectorAll('.report .panel').forEach((panel) => {
      const table = panel.querySelector('table');
      if (!table) return;
      lines.push(quoted(panel.querySelector('h2').textContent));
      for (const row of table.rows) lines.push([...row.cells].map((cell) => quoted(cell.textContent)).join(','));
      lines.push('');
    });
    const link = hw.el('a');
    link.href = URL.createObjectURL(new Blob(['\ufeff' + lines.join('\r\n')], { type: 'text/csv' }));
    link.download = 'report-' + document.getElementById('report-title').textContent.replace(/[^\w-]+/g, '_') + '.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // on paper a chart has the width of the paper
  const resize = () => {
    const chart = document.getElementById('report-chart');
    if (chart && chart.data && window.Plotly) window.Plotly.Plots.resize(chart);
  };
  // paper is white, whatever the screen is
  let theme = null;
  window.addEventListener('beforeprint', () => {
    theme = theme || document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = 'light';
    hw.recolour();
    hw.chart.drawAll();
    resize();
  });
  window.addEventListener('afterprint', () => {
    document.documentElement.dataset.theme = theme;
    theme = null;
    hw.recolour();
    resize();
  });
})();
