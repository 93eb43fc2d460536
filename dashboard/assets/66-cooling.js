// The cooling page: tables of loops and CDUs, and the loop of the chosen pod as a drawing.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const SVG = 'http://www.w3.org/2000/svg';
  let chosen = null;

  function svg(tag, attributes, className, text) {
    const node = document.createElementNS(SVG, tag);
    for (const name in attributes) node.setAttribute(name, attributes[name]);
    if (className) node.setAttribute('class', className);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  hw.on('live-hall', (hall) => {
    const place = document.getElementById('loop-drawing');
    if (!place) return;
    hw.cells(hall.cells);
    hw.rows('loop-rows', hall.pods);
    hw.rows('cdu-loop-rows', hall.cdus);
    hw.rows('leak-rows', hall.leaks);
    hw.rows('air-rows', hall.air);
    const wanted = new URLSearchParams(location.search).get('pod');
    const troubled = Object.keys(hall.loops).find((pod) => hall.loops[pod].cdus.some((c) => c.running === false));
    chosen = wanted && hall.loops[wanted] ? wanted : troubled || Object.keys(hall.loops)[0];
    draw(place, hall.loops[chosen]);
  });

  // water on the left, CDUs in the middle, racks on the right; the upper pipe brings coolant, the lower takes it back
  function draw(place, loop) {
    if (!loop || !place.clientWidth) return;
    const shows = JSON.stringify([chosen, loop, place.clientWidth, place.clientHeight]);
    if (place.dataset.shows === shows) return;
    place.dataset.shows = shows;
    document.getElementById('loop-name').textContent = chosen;
    const width = place.clientWidth;
    const height = Math.max(150, place.clientHeight);
    const root = svg('svg', { width, height });
    const n = Math.max(1, loop.cdus.length);
    const left = 16;
    const boxW = Math.min(210, width * 0.36);
    const boxX = (width - boxW) / 2 - 10;
    const rackX = width - Math.min(120, width * 0.2) - 12;
    const rackW = width - rackX - 12;
    const each = (height - 20) / n;
    const say = (x, y, cell, anchor, more) => root.append(svg('text', { x, y, 'text-anchor': anchor || 'start' }, 'loop-text ' + (cell[1] || '') + ' ' + (more || ''), cell[0]));
    const pipe = (x1, y1, x2, y2, kind) => root.append(svg('line', { x1, y1, x2, y2 }, 'pipe ' + kind));
    loop.cdus.forEach((cdu, i) => {
      const y = 10 + i * each;
      const h = Math.min(each - 10, 110);
      const off = cdu.running === false ? ' off' : '';
      const cold = y + h * 0.28;
      const warm = y + h * 0.8;
      pipe(left, cold, boxX, cold, 'water' + off);
      pipe(left, warm, boxX, warm, 'water warm' + off);
      pipe(boxX + boxW, cold, rackX, cold, 'coolant' + off);
      pipe(boxX + boxW, warm, rackX, warm, 'coolant warm' + off);
      root.append(svg('rect', { x: boxX, y, width: boxW, height: h, rx: 4 }, 'loop-box' + (off ? ' alarm' : '')));
      say(boxX + 10, y + 20, [(off ? '\u25b2 ' : '') + cdu.id, off ? 'alarm' : ''], 'start', 'loop-title');
      say(boxX + 10, y + 38, [cdu.state, '']);
      say(boxX + 10, y + 56, cdu.heat);
      say(boxX + boxW - 10, y + 56, cdu.flow, 'end');
      say(left + 2, cold - 5, cdu.in);
      say(left + 2, warm - 5, cdu.out);
      say(boxX + boxW + 8, cold - 5, cdu.supply);
      say(boxX + boxW + 8, warm - 5, cdu.back);
    });
    root.append(svg('rect', { x: rackX, y: 10, width: rackW, height: height - 24, rx: 4 }, 'loop-box ' + (loop.mark === 'critical' ? 'alarm' : '')));
    say(rackX + 10, 32, [hw.say('cool.racks'), ''], 'start', 'loop-title');
    say(rackX + 10, 52, [loop.power, '']);
    say(rackX + 10, 76, [hw.say('cool.warmest'), 'muted']);
    say(rackX + 10, 94, loop.supply);
    say(rackX + 10, 112, loop.back);
    place.replaceChildren(root);
  }

  document.addEventListener('click', (event) => {
    const row = event.target.closest && event.target.closest('#loop-rows tr, #cdu-loop-rows tr');
    if (!row) return;
    const hall = hw.latest['live-hall'];
    const id = row.id.startsWith('loop-') ? row.id.slice(5)
      : Object.keys(hall.loops).find((pod) => hall.loops[pod].cdus.some((c) => 'cdu-loop-' + c.id === row.id));
    const wanted = new URL(location.href);
    wanted.searchParams.set('pod', id);
    history.replaceState(history.state, '', wanted);
    hw.paint('live-hall');
  });
})();
