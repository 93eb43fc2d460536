// The floor of racks and the grid of GPUs: grey for what is normal, amber and vermilion with a sign for
// what is near or over a limit. Lightness alone carries the order, so that it reads without colour vision.
(function () {
  'use strict';
  const hw = window.hallwatch;

  const RAMPS = {
    dark: [[27, 33, 39], [36, 43, 50], [47, 55, 63], [61, 70, 79], [79, 89, 99], [92, 102, 112]],
    light: [[228, 231, 234], [215, 219, 223], [200, 206, 211], [183, 190, 197], [164, 173, 181], [151, 160, 169]],
  };

  const FLOOR = {
    power: { unit: 'kW', low: 0, digits: 0 },
    return: { unit: '\u00b0C', low: 30, digits: 1 },
    gpu: { unit: '\u00b0C', low: 30, digits: 0 },
    anomaly: { unit: '', low: 0, digits: 2 },
    supply: { unit: '\u00b0C', low: 20, digits: 1 },
    flow: { unit: 'L/min', low: 0, digits: 0 },
    headroom: { unit: 'kW', low: null, digits: 0 }, // from a rack's whole limit down to nothing
    risk: { unit: '%', low: 0, digits: 1 },
  };

  function colour(share) {
    const ramp = RAMPS[hw.dark() ? 'dark' : 'light'];
    const at = Math.max(0, Math.min(0.9999, share)) * (ramp.length - 1);
    const i = Math.floor(at);
    return 'rgb(' + ramp[i].map((c, k) => Math.round(c + (ramp[i + 1][k] - c) * (at - i))).join(',') + ')';
  }

  function shade(node, value, low, limit, mark) {
    const missing = value === null || value === undefined;
    node.classList.toggle('hatched', missing);
    node.classList.toggle('bad', mark === 'bad');
    node.classList.toggle('old', mark === 'old');
    if (missing) {
      node.style.background = '';
      node.style.color = '';
      return;
    }
    const share = (value - low) / (limit - low);
    if (share >= 0.97) {
      node.style.background = share > 1 ? 'var(--over)' : 'var(--near)';
      node.style.color = 'var(--on)';
    } else {
      node.style.background = colour(share / 0.97);
      node.style.color = 'var(--text)';
    }
    node.classList.toggle('near', share >= 0.97 && share <= 1);
    node.classList.toggle('over', share > 1);
  }

  hw.on('live-floor', (floor) => {
    const map = document.getElementById('floor');
    if (!map) return;
    const metric = hw.chosen['floor-metric'] || 'power';
    const how = FLOOR[metric];
    const open = floor.limits[metric] === null; // without a limit the scale ends above the highest, and nothing is near or over
    const limit = open ? Math.ceil(Math.max(1, ...floor.values[metric].filter((v) => v !== null)) / 0.9) : floor.limits[metric];
    const low = how.low === null ? floor.limits.power : how.low;
    const values = floor.values[metric];
    const marks = floor.marks[metric];
    for (const cell of map.children) {
      const rack = cell.id.slice(5);
      const order = Number(/order-(\d+)/.exec(cell.className)[1]);
      const value = values[order];
      const text = value === null ? '\u2014' : value.toFixed(how.digits);
      const field = cell.lastChild;
      if (field.textContent !== text) field.textContent = text;
      shade(cell, value, low, limit, marks[order]);
      const severity = floor.severity[rack] || '';
      for (const s of ['critical', 'high', 'warning', 'info']) cell.classList.toggle(s, s === severity);
      const note = marks[order] ? hw.say('text.comma') + hw.say('mark.' + marks[order]) : '';
      const title = rack + ': ' + (value === null ? hw.say('cell.no_reading') : text + ' ' + how.unit + note) +
        (severity ? hw.say('text.comma') + hw.say('floor.alert_of', { severity: hw.say('severity.' + severity) }) : '');
      if (cell.title !== title) {
        cell.title = title;
        cell.setAttribute('aria-label', title);
      }
    }
    document.getElementById('floor-low').textContent = low + ' ' + how.unit;
    document.getElementById('floor-high').textContent = open ? limit + ' ' + how.unit : hw.say('floor.limit', { limit: limit + ' ' + how.unit });
    const stops = [0, 0.2, 0.4, 0.6, 0.8, 1].map((s) => colour(s) + ' ' + s * 90 + '%');
    document.getElementById('floor-scale').style.background =
      'linear-gradient(90deg,' + stops.join(',') + ',var(--near) 92%,var(--near) 96%,var(--over) 97%)';
  });

  hw.on('live-rack', (rack) => {
    const grid = document.getElementById('gpus');
    if (!grid || !rack.gpus || !hw.shown(rack)) return;
    const metric = hw.chosen['gpu-metric'] || 'temperature';
    const unit = metric === 'power' ? 'W' : '\u00b0C';
    const top = metric === 'power' ? rack.gpus.powerLimit : rack.gpus.limit;
    const low = metric === 'power' ? 0 : 30;
    grid.querySelectorAll('.gpu').forEach((cell) => {
      const i = Number(cell.id.slice(4));
      const value = rack.gpus[metric][i];
      const missing = value === null || value === undefined;
      const text = missing ? '\u2014' : value.toFixed(0);
      if (cell.textContent !== text) cell.textContent = text;
      shade(cell, value, low, top, rack.gpus.marks[i]);
      const name = rack.gpus.ids[i];
      const leads = '/object/' + encodeURIComponent(name);
      if (name && cell.getAttribute('href') !== leads) cell.href = leads;
      const mark = rack.gpus.marks[i] ? hw.say('mark.' + rack.gpus.marks[i]) : '';
      cell.title = hw.say('rack.gpu_at', { tray: Math.floor(i / 4) + 1, gpu: i % 4 }) +
        (missing ? mark || hw.say('cell.no_reading') : value + ' ' + unit + (mark ? hw.say('text.comma') + mark : ''));
    });
  });

  // --- the rest of the rack page ------------------------------------------------------------------------------------

  hw.shown = function (payload) {
    const title = document.getElementById('rack-title');
    return !!title && payload.rack === title.textContent;
  };

  hw.on('live-rack', (rack) => {
    if (!hw.shown(rack)) return;
    hw.cells(rack.cells);
    hw.rows('rack-points', rack.points.map((p) => ({
      id: '', mark: '', cells: [hw.thing(p[0]), [p[1], '', p[6]], [p[2], p[5]], [p[3], p[5]], [p[4], '']],
    })));
    const marks = { fault: 'alarm', degraded: 'warning', notice: '' };
    const findings = rack.findings.map((f) => ({
      id: '', mark: '', cells: [hw.thing(f[0]), [f[1], marks[f[4]]], [f[2], ''], [f[3], '']],
    }));
    if (!findings.length) findings.push({ id: '', mark: '', cells: [[hw.say('rack.no_findings'), 'muted']] });
    hw.rows('gpu-health', findings);
    const paths = document.getElementById('rack-paths');
    const rows = rack.paths.map((path) => {
      const row = hw.el('div', 'path');
      path.forEach(([id, power, severity], i) => {
        if (i) row.append(hw.el('span', 'arrow', '\u203a'));
        const step = hw.link(id, 'step ' + severity);
        step.append(hw.el('span', 'step-name', id), hw.el('span', 'step-power', power));
        row.append(step);
      });
      return row;
    });
    const cdus = hw.el('div', 'path');
    cdus.append(hw.el('span', 'muted', hw.say('rack.coolant')));
    rack.cdus.forEach((cdu) => cdus.append(Object.assign(hw.link(cdu, 'step'), { textContent: cdu })));
    if (!rows.length) rows.push(hw.el('div', 'muted', hw.say('rack.no_path')));
    paths.replaceChildren(...rows, cdus);
  });
})();
