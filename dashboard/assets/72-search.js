// Search (Ctrl-K): a line to type in, and what the server found, by keyboard alone.
(function () {
  'use strict';
  const hw = window.hallwatch;
  const WAIT_MS = 60;
  let box = null;
  let asking = null;
  let timer = 0;
  let at = 0;

  function build() {
    box = hw.el('dialog', 'search');
    box.id = 'search';
    box.setAttribute('aria-label', hw.say('search.title'));
    const line = hw.el('input');
    Object.assign(line, { id: 'search-text', type: 'search', maxLength: 100, placeholder: hw.say('search.hint'), autocomplete: 'off' });
    const list = hw.el('div');
    list.id = 'search-found';
    list.setAttribute('role', 'listbox');
    list.setAttribute('aria-label', hw.say('search.found'));
    for (const [name, value] of Object.entries({ role: 'combobox', 'aria-controls': list.id, 'aria-expanded': 'true',
      'aria-autocomplete': 'list', 'aria-label': hw.say('search.title') })) line.setAttribute(name, value);
    const told = hw.el('p', 'muted');
    told.id = 'search-told';
    told.setAttribute('role', 'status');
    box.append(line, list, told);
    line.oninput = () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS); };
    line.onkeydown = (event) => {
      const rows = list.children.length;
      if (event.key === 'ArrowDown' && rows) mark((at + 1) % rows);
      else if (event.key === 'ArrowUp' && rows) mark((at + rows - 1) % rows);
      else if (event.key === 'Enter' && rows) open(list.children[at].dataset.href);
      else if (event.key === 'Escape') box.close(); // of itself, a field for searches would only be emptied
      else return;
      event.preventDefault();
    };
    box.onclick = (event) => { if (event.target === box) box.close(); };
    document.body.append(box);
  }

  function mark(row) {
    at = row;
    const list = document.getElementById('search-found');
    [...list.children].forEach((one, i) => one.setAttribute('aria-selected', String(i === at)));
    const line = document.getElementById('search-text');
    if (!list.children[at]) return line.removeAttribute('aria-activedescendant');
    line.setAttribute('aria-activedescendant', list.children[at].id);
    list.children[at].scrollIntoView({ block: 'nearest' });
  }

  function open(leads) {
    box.close();
    if (leads.startsWith('/runbooks')) location.assign(leads);
    else hw.go(leads);
  }

  function ask() {
    const text = document.getElementById('search-text').value.trim();
    if (asking) asking.abort();
    if (!text) return show([], '');
    asking = new AbortController();
    fetch('/search?q=' + encodeURIComponent(text), { signal: asking.signal, headers: { accept: 'application/json' } })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer)))
      .then((found) => show(found, found.length ? hw.count('search.n', found.length) : hw.say('search.nothing')))
      .catch((error) => { if (error.name !== 'AbortError') show([], hw.say('search.failed')); });
  }

  function show(found, told) {
    document.getElementById('search-found').replaceChildren(...found.map((one, i) => {
      const row = hw.el('div', 'search-row');
      row.id = 'search-' + i;
      row.dataset.href = one.href;
      row.setAttribute('role', 'option');
      row.append(hw.el('span', 'muted', hw.say('search.kind.' + one.kind)), hw.el('span', 'name', one.text), hw.el('span', 'muted', one.note));
      row.onclick = () => open(one.href);
      return row;
    }));
    document.getElementById('search-told').textContent = told;
    mark(0);
  }

  function begin() {
    if (!box) build();
    if (box.open) return;
    box.showModal();
    document.getElementById('search-text').select();
  }

  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      begin();
    }
  });
  document.addEventListener('click', (event) => {
    if (event.target.closest && event.target.closest('#search-open')) begin();
  });
})();
