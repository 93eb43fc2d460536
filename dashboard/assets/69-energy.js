// Energy: tables and today's demand; a request of the grid that waits has buttons for whoever may decide.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const LIVE = ['nodes', 'links', 'offers', 'jobs'];

  hw.on('live-energy', (told) => {
    if (!document.getElementById('energy-chart') || !told.cells) return;
    hw.cells(told.cells);
    for (const table of LIVE) hw.rows('energy-' + table, told[table]);
    hw.rows('energy-requests', told.requests);
    for (const one of told.requests) decisions(one);
  });

  hw.on('energy-account', (told) => {
    if (!document.getElementById('energy-chart')) return;
    const head = document.getElementById('energy-today-told');
    if (told.trouble) {
      hw.write(head, [told.trouble, 'alarm']);
      return;
    }
    hw.cells(told.cells);
    for (const table of ['peaks', 'costs', 'tariff', 'energy']) hw.rows('energy-' + table, told[table]);
    hw.write(head, [told.chart.told, 'muted']);
    chart(told.chart);
  });

  function chart(c) {
    const { draw, axis, times } = hw.chart;
    const hover = '%{y:.2f} MW';
    const bars = (y, colour, name) => ({ x: c.time, y, type: 'bar', name, width: 780000, marker: { color: colour }, hovertemplate: hover });
    const line = (x, y, colour, name, dash) => ({ x, y, mode: 'lines', name, hovertemplate: hover,
      line: { color: hw.colour(colour), width: 1.8, dash, shape: 'hvh' } });
    const traces = [
      bars(c.metered, hw.faint('measured', 0.75), hw.say('energy.metered')),
      bars(c.averaged, hw.faint('measured', 0.4), hw.say('energy.averaged')),
      line(c.limitTime, c.limit, 'vermilion', hw.say('energy.limit'), 'dash'),
    ];
    if (c.contracted !== null) traces.push(line(c.edges, [c.contracted, c.contracted], 'amber', hw.say('energy.contracted'), 'dot'));
    draw('energy-chart', traces, {
      xaxis: times({ nticks: 9, range: c.edges }), yaxis: axis({ ticksuffix: ' MW', nticks: 5, rangemode: 'tozero' }),
      barmode: 'overlay', margin: { l: 66, r: 24, t: 6, b: 36 },
    });
  }

  // what may be decided of a request: nothing is sent before a reason was asked for
  function decisions(one) {
    const row = document.getElementById('energy-request-' + one.number);
    const place = row && row.cells[row.cells.length - 1];
    if (!place) return;
    const wanted = one.number + ' ' + one.may.join();
    if (place.dataset.shows === wanted && place.children.length === (one.may.length ? 1 : 0)) return;
    place.dataset.shows = wanted;
    place.replaceChildren(...(one.may.length ? [form(one)] : []));
  }

  function form(one) {
    const form = hw.el('form', 'note grid-acts');
    const note = hw.el('input');
    note.name = 'note';
    note.maxLength = 500;
    note.placeholder = hw.say('acts.why_short');
    note.setAttribute('aria-label', hw.say('energy.note_on', { number: one.number }));
    form.append(note);
    for (const act of one.may) {
      const text = hw.say(act === 'consent' ? 'energy.consent' : one.may.length > 1 ? 'energy.refuse' : 'energy.withdraw');
      const button = hw.el('button', 'acknowledge', text);
      button.type = 'button';
      button.id = 'grid-' + act + '-' + one.number;
      button.setAttribute('aria-label', text + ': ' + one.number);
      button.onclick = () => window.dash_clientside.set_props('grid-act-request', {
        data: { act: act, id: one.number, note: note.value, at: Date.now() },
      });
      form.append(button);
    }
    form.onsubmit = (event) => event.preventDefault(); // Enter decides nothing: there are two buttons
    return form;
  }

  hw.on('grid-act-answer', (answer) => {
    hw.tell(answer);
    delete hw.latest['grid-act-answer'];
  });
})();
