// The one-line diagram: feeds outside, racks in the middle, each unit over the pods that hang on it. Drawn from what hangs
// on what, at the panel's own size, so that its text is as large as any other.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const SVG = 'http://www.w3.org/2000/svg';
  const GAP = 6;
  const KEEP = 'unit';

  let plan = null; // units with their column span, side and level; made once a page
  let drawn = null; // { place, width, height, nodes, lines, racks }
  let chosen = null;

  function svg(tag, attributes, className, text) {
    const node = document.createElementNS(SVG, tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    if (className) node.setAttribute('class', className);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function read() {
    const told = document.getElementById('power-structure');
    if (!told) return null;
    if (plan && plan.text === told.textContent) return plan;
    const { site, units, pods } = JSON.parse(told.textContent);
    const by = new Map(units.map(([id, kind, below, served]) => [id, { id, kind, below, served, above: [] }]));
    for (const unit of by.values()) unit.below.forEach((id) => by.get(id).above.push(unit.id));
    const roots = [...by.values()].filter((u) => !u.above.length);
    const depth = (u, seen) => (seen.has(u) ? 0 : 1 + Math.max(0, ...u.below.map((id) => depth(by.get(id), new Set(seen).add(u)))));
    const spread = (u, seen) => {
      if (seen.has(u)) return [];
      seen.add(u);
      return [...u.served, ...u.below.flatMap((id) => spread(by.get(id), seen))];
    };
    roots.forEach((root, i) => {
      // two sources of every rack: one from above, one from below
      const side = i % 2;
      const walk = (u, level) => {
        if (u.level !== undefined && u.level >= level) return;
        u.side = side;
        u.level = level;
        u.below.forEach((id) => walk(by.get(id), level + 1));
      };
      walk(root, 0);
    });
    for (const u of by.values()) {
      const columns = spread(u, new Set());
      u.from = columns.length ? Math.min(...columns) : 0;
      u.to = columns.length ? Math.max(...columns) : Math.max(0, pods.length - 1);
    }
    const levels = [0, 1].map((side) => Math.max(0, ...roots.filter((r, i) => i % 2 === side).map((r) => depth(r, new Set()))));
    plan = { text: told.textContent, site, by, pods, levels };
    return plan;
  }

  function draw(place, p) {
    const width = place.clientWidth;
    const height = place.clientHeight;
    if (drawn && drawn.place === place && drawn.width === width && drawn.height === height && drawn.plan === p) return drawn;
    const columns = Math.max(1, p.pods.length);
    const wide = Math.min((width - GAP) / columns, 240);
    const left = (width - wide * columns) / 2;
    const rows = p.levels[0] + p.levels[1];
    const racksHigh = Math.max(34, Math.min(110, height / (rows + 2)));
    const high = Math.max(24, (height - racksHigh - 2 * GAP) / Math.max(1, rows));
    const box = Math.min(46, high - 14);
    const root = svg('svg', { width, height, viewBox: '0 0 ' + width + ' ' + height });
    const lines = svg('g', {}, 'lines');
    root.append(lines);
    const nodes = new Map();
    const middle = GAP + p.levels[0] * high;
    const yOf = (u) => (u.side === 0 ? GAP + u.level * high : middle + racksHigh + (p.levels[1] - 1 - u.level) * high + (high - box));
    const of = new Map();
    for (const u of p.by.values()) {
      // units of the same level over the same pods stand beside each other
      const key = u.side + '/' + u.level + '/' + u.from + '/' + u.to;
      of.set(key, [...(of.get(key) || []), u]);
    }
    for (const same of of.values()) {
      same.forEach((u, i) => {
        const whole = (u.to - u.from + 1) * wide - GAP;
        const each = whole / same.length;
        const x = left + u.from * wide + GAP / 2 + i * each;
        nodes.set(u.id, unit(root, u, x, yOf(u), each - (same.length > 1 ? GAP : 0), box));
      });
    }
    for (const u of p.by.values()) {
      const from = nodes.get(u.id);
      for (const id of u.below) join(lines, u, from, nodes.get(id), id);
      for (const pod of u.served) {
        const x = left + (pod + 0.5) * wide;
        const upper = u.side === 0;
        const y = upper ? middle : middle + racksHigh;
        from.lines.push(line(lines, x, upper ? from.y + from.h : from.y, x, y));
      }
    }
    const racks = [];
    p.pods.forEach(([pod, ids], column) => {
      const x = left + column * wide + GAP / 2;
      root.append(svg('text', { x: x + (wide - GAP) / 2, y: middle + 12 }, 'pod-name', pod));
      const each = (wide - GAP) / Math.max(1, ids.length);
      ids.forEach((id, i) => {
        const link = svg('a', { href: '/rack/' + encodeURIComponent(id) }, 'rack-link');
        const cell = svg('rect', { x: x + i * each + 0.5, y: middle + 17, width: Math.max(1, each - 1.5), height: racksHigh - 24, rx: 1 }, 'rack-cell');
        const title = svg('title', {}, '', id);
        link.append(cell, title);
        const fill = svg('rect', { x: x + i * each + 0.5, y: middle + 17, width: Math.max(1, each - 1.5), height: 0 }, 'rack-load');
        link.insertBefore(fill, title);
        root.append(link);
        racks.push({ id, cell, fill, title, top: middle + 17, high: racksHigh - 24 });
      });
    });
    place.replaceChildren(root);
    drawn = { place, width, height, plan: p, nodes, racks };
    if (!place.dataset.watched) {
      place.dataset.watched = 'yes';
      new ResizeObserver(() => { if (place.isConnected) hw.paint('live-oneline'); }).observe(place);
    }
    return drawn;
  }

  function unit(root, u, x, y, w, h) {
    const group = svg('g', { tabindex: 0, role: 'button', 'aria-label': u.id }, 'unit');
    group.id = 'unit-' + u.id;
    const back = svg('rect', { x, y, width: Math.max(4, w), height: h, rx: 3 }, 'unit-box');
    const load = svg('rect', { x, y: y + h - 4, width: 0, height: 4 }, 'unit-load');
    const name = svg('text', { x: x + 6, y: y + 14 }, 'unit-title', w > 60 ? u.id : '');
    const value = svg('text', { x: x + 6, y: y + h - 9 }, 'unit-value');
    const note = svg('text', { x: x + w - 6, y: y + 14 }, 'unit-note');
    const title = svg('title', {}, '', u.id);
    group.append(back, load, name, value, note, title);
    const choose = () => {
      const wanted = new URL(location.href);
      wanted.searchParams.set(KEEP, u.id);
      history.replaceState(history.state, '', wanted);
      chosen = u.id;
      hw.paint('live-oneline');
    };
    group.addEventListener('click', choose);
    group.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      choose();
    });
    root.append(group);
    return { group, back, load, name, value, note, title, x, y, w, h, lines: [] };
  }

  function line(lines, x1, y1, x2, y2) {
    const drawnLine = svg('line', { x1, y1, x2, y2 }, 'flow');
    lines.append(drawnLine);
    return drawnLine;
  }

  function join(lines, u, from, to, id) {
    if (!to) return;
    const x = to.x + to.w / 2;
    const down = from.y < to.y;
    const made = line(lines, Math.min(Math.max(x, from.x + 2), from.x + from.w - 2), down ? from.y + from.h : from.y, x, down ? to.y : to.y + to.h);
    made.dataset.to = id;
    from.lines.push(made);
  }

  const set = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const dress = (node, wanted) => { if (node.getAttribute('class') !== wanted) node.setAttribute('class', wanted); };

  hw.on('live-oneline', (told) => {
    const place = document.getElementById('oneline');
    const p = read();
    if (!place || !p || !place.clientWidth) return;
    const d = draw(place, p);
    chosen = new URLSearchParams(location.search).get(KEEP) || worst(told, p);
    for (const [id, node] of d.nodes) {
      const u = told.units[id];
      if (!u) continue;
      const share = u.share === null ? '' : Math.round(u.share * 100) + ' %';
      set(node.value, node.w > 110 ? u.text + ' \u00b7 ' + share : node.w > 46 ? u.text : '');
      set(node.note, node.w > 130 ? sign(u) + (u.note || '') : sign(u));
      set(node.title, id + ': ' + u.text + (share ? ', ' + share : '') + (u.note ? ', ' + u.note : ''));
      node.load.setAttribute('width', Math.max(0, Math.min(1, u.share || 0)) * node.w);
      dress(node.group, ['unit', u.mark, u.state, u.severity, id === chosen ? 'chosen' : ''].filter(Boolean).join(' '));
      node.group.setAttribute('aria-pressed', id === chosen);
      node.group.setAttribute('aria-label', node.title.textContent);
      node.lines.forEach((l) => dress(l, 'flow ' + (u.state === 'off' ? 'off' : u.state === 'battery' ? 'battery' : '')));
    }
    d.racks.forEach((rack, i) => {
      const kw = told.racks[i];
      const most = Math.max(1, ...told.racks.filter((v) => v !== null));
      const high = kw === null ? 0 : rack.high * Math.min(1, kw / most);
      rack.fill.setAttribute('height', high);
      rack.fill.setAttribute('y', rack.top + rack.high - high);
      dress(rack.cell, 'rack-cell ' + (kw === null ? 'missing ' : '') + (told.severity[rack.id] || ''));
      set(rack.title, rack.id + ': ' + (kw === null ? '\u2014' : kw + ' kW') + (told.marks[i] ? hw.say('text.comma') + hw.say('mark.' + told.marks[i]) : ''));
    });
    detail(told);
  });

  const SIGNS = { critical: '\u25b2 ', high: '\u25a0 ', warning: '\u25c6 ' };
  const sign = (u) => (/\balarm\b/.test(u.mark) || u.state === 'off' || u.state === 'battery' ? '\u25b2 ' : /\bwarning\b/.test(u.mark) ? '\u25c6 ' : SIGNS[u.severity] || '');

  // without a choice: what is off or on battery, then what is loaded most
  function worst(told, p) {
    const rank = (u) => (u.state === 'battery' ? 3 : u.state === 'off' ? 2 : u.share || 0);
    return [...p.by.keys()].filter((id) => told.units[id]).sort((a, b) => rank(told.units[b]) - rank(told.units[a]))[0] || null;
  }

  function detail(told) {
    const place = document.getElementById('unit-detail');
    const u = chosen && told.units[chosen];
    if (!place || !u) return;
    set(document.getElementById('unit-name'), chosen);
    const table = place.querySelector('table') || place.appendChild(hw.el('table', 'live unit-figures'));
    const body = table.tBodies[0] || table.createTBody();
    body.id = 'unit-rows';
    hw.rows('unit-rows', u.rows.map(([label, cell]) => ({ id: '', mark: '', cells: [[label, 'name'], cell] })));
    failing(place, told);
  }

  function failing(place, told) {
    const reserve = hw.latest['live-reserve'];
    const of = reserve && reserve.units[chosen];
    const box = place.querySelector('.unit-fails') || place.appendChild(hw.el('div', 'unit-fails'));
    const state = (told.units[chosen] || {}).state;
    const ends = reserve && reserve.emptied && (state === 'battery' || state === 'off');
    const parts = ends ? [['emptied', reserve.emptied]] : !of ? [] : [['now', of.now], ['then', of.then]].filter(([, answer]) => answer);
    const wanted = JSON.stringify([chosen, parts, reserve && reserve.titles]);
    if (box.dataset.shows === wanted) return;
    box.dataset.shows = wanted;
    const more = hw.el('a', 'unit-more', hw.say('power.what_if'));
    more.href = '/forecast?lose=' + encodeURIComponent(chosen);
    box.replaceChildren(...parts.map(([when, answer]) => {
      const part = hw.el('section', 'unit-fail');
      part.id = 'unit-fails-' + when;
      part.append(hw.el('h3', '', reserve.titles[when]));
      answer.lines.forEach(([text, mark]) => part.append(hw.el('p', 'value ' + mark, text)));
      return part;
    }), more);
  }

  hw.on('live-reserve', (reserve) => {
    hw.cells(reserve.cells);
    hw.rows('reserve-rows', reserve.rows);
    hw.rows('room-rows', reserve.rooms);
    const told = hw.latest['live-oneline'];
    if (told && document.getElementById('oneline')) detail(told);
  });

  // a row of the table chooses its unit
  document.addEventListener('click', (event) => {
    const row = event.target.closest && event.target.closest('#reserve-rows tr');
    if (!row) return;
    const node = document.getElementById('unit-' + row.id.slice(5));
    if (node) node.dispatchEvent(new MouseEvent('click'));
  });
})();
