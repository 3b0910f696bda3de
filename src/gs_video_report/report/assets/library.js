(() => {
'use strict';
const $ = (id) => document.getElementById(id);
const data = JSON.parse($('data').textContent);
const L = data.labels;
const PAGE = 60, KEPT_SHARDS = 30, SNIPPETS = 3, AROUND = 70;
let cards = data.cards || [];
let shown = [], drawn = 0, found = new Map(), asked = 0;

const store = {
  get(k) { try { return localStorage.getItem('gsvr.' + k); } catch { return null; } },
  set(k, v) { try { localStorage.setItem('gsvr.' + k, v); } catch { /* private window */ } },
};
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
const clock = (s) => {
  s = Math.max(0, Math.floor(s));
  const p = (n) => String(n).padStart(2, '0'), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h}:${p(m)}:${p(s % 60)}` : `${m}:${p(s % 60)}`;
};
const link = (href, cls, text) => { const a = make('a', cls, text); a.setAttribute('href', href); return a; };

// --- shards: a page from a file may load scripts, not JSON ------------------------------------------
const waiting = new Map(), kept = new Map();
window.gsvrShard = (kind, n, rows) => { const w = waiting.get(kind + n); if (w) w(rows); };
const shard = (kind, n) => {
  if (kept.has(kind + n)) return Promise.resolve(kept.get(kind + n));
  return new Promise((done) => {
    const s = document.createElement('script');
    const end = (rows) => { waiting.delete(kind + n); s.remove(); if (kept.size < KEPT_SHARDS) kept.set(kind + n, rows); done(rows); };
    waiting.set(kind + n, end);
    s.onerror = () => end([]);
    s.src = `index-${kind}-${n}.js`;
    document.head.append(s);
  });
};
const textRows = async function* () {
  if (data.texts) { yield data.texts; return; }
  for (let n = 1; n <= (data.textShards || 0); n++) yield await shard('text', n);
};

// --- one card ---------------------------------------------------------------------------------------
const FILM = '<svg class="i" viewBox="0 0 24 24" aria-hidden="true"><path d="M4 5h16v14H4z"/><path d="M10 9l5 3-5 3z"/></svg>';
const marked = (text, words) => {
  const out = document.createDocumentFragment();
  const pattern = new RegExp(words.map((w) => w.replace(/[.*+?^${}()|[\]\\\/]/g, '\\$&')).join('|'), 'giu');
  let last = 0;
  for (const m of text.matchAll(pattern)) {
    out.append(text.slice(last, m.index), make('mark', '', m[0])); last = m.index + m[0].length;
  }
  out.append(text.slice(last));
  return out;
};
const UNITS = { times: (n) => `×${Math.floor(n)}`, s: (n) => `${Math.round(n)} s`, '%': (n) => `${Math.round(n)} %`, 'characters/min': (n) => `${Math.round(n)}/min` };
const doubts = (c, target) => {
  const ul = make('div', 'hits doubts');
  c.f.forEach(([kind, figure, unit, at, reason]) => {
    const a = target ? link(at === null ? target : `${target}#t=${at}`, '') : make('span');
    a.title = reason;
    a.append(make('span', 'num', at === null ? '' : clock(at)), make('span', '', `${L['doubt.' + kind] || kind} ${(UNITS[unit] || Math.round)(figure)}`));
    ul.append(a);
  });
  return ul;
};
const draw = (c) => {
  const box = make('article', 'item card'), body = make('div', 'body');
  const pic = make('div', 'pic');
  if (c.i) { const img = make('img'); img.loading = 'lazy'; img.decoding = 'async'; img.alt = ''; img.onerror = () => { img.remove(); pic.insertAdjacentHTML('beforeend', FILM); }; img.src = c.i; pic.append(img); } else pic.innerHTML = FILM;
  if (c.d) pic.append(make('span', 'len num', clock(c.d)));
  const h2 = make('h2'), target = c.h.html || c.h.md || c.h.markdown || c.h.json;
  h2.append(target ? link(target, 'main', c.t || L.untitled) : make('span', '', c.t || L.untitled));
  if (c.l) h2.lang = c.l;
  body.append(h2);
  if (c.n) { const p = make('p', 'path'); p.title = c.n; p.append(make('bdi', '', c.n)); body.append(p); }
  if (c.e) { body.append(make('p', 'why', c.e[1])); if (c.e[2]) body.append(make('p', 'fix', c.e[2])); }
  if (c.y) { const p = make('p', 'sum', c.y); if (c.l) p.lang = c.l; body.append(p); }
  if (c.k.length) { const t = make('div', 'chips'); c.k.slice(0, 4).forEach((k) => t.append(make('span', 'chip', k))); body.append(t); }
  const hits = found.get(c.r);
  if (hits && hits.list.length) {
    const ul = make('div', 'hits');
    hits.list.forEach(([ms, text]) => { const a = link(target ? `${target}#t=${ms / 1000}` : '#', ''); const s = make('span'); s.append(marked(text, hits.words)); a.append(make('span', 'num', clock(ms / 1000)), s); ul.append(a); });
    if (hits.n > hits.list.length) ul.append(make('span', 'mute', `+ ${hits.n - hits.list.length} ${L.more_hits}`));
    body.append(ul);
  }
  if (c.f) body.append(doubts(c, target));
  const foot = make('div', 'foot');
  if (c.s !== 'completed') foot.append(make('span', 'badge ' + c.s, L[c.s] || c.s));
  if (c.l) foot.append(make('span', 'badge', data.names[c.l] || c.l));
  if (c.w) foot.append(make('span', 'badge warn num', `⚠ ${c.w}`));
  if (c.f) foot.append(make('span', 'badge warn num', `${L.quality} ${Math.round(c.q)}`));
  Object.entries(c.h).forEach(([kind, path]) => foot.append(link(path, '', kind === 'markdown' ? 'md' : kind)));
  body.append(foot);
  (c.o || []).forEach(([template, links]) => {
    const also = make('div', 'foot also');
    also.append(make('span', 'mute', template));
    Object.entries(links).forEach(([kind, path]) => also.append(link(path, '', kind === 'markdown' ? 'md' : kind)));
    body.append(also);
  });
  box.append(pic, body);
  return box;
};
const more = () => {
  const part = shown.slice(drawn, drawn + PAGE);
  $('grid').append(...part.map(draw)); drawn += part.length;
  $('more').hidden = drawn >= shown.length;
};

// --- filter, sort, search ---------------------------------------------------------------------------
const value = (id) => ($(id) ? $(id).value : '');
const snippet = (line, words) => {
  const low = line.toLowerCase(), i = Math.max(0, Math.min(...words.map((w) => low.indexOf(w)).filter((x) => x >= 0)) - AROUND);
  return (i ? '…' : '') + line.slice(i, i + 2 * AROUND) + (line.length > i + 2 * AROUND ? '…' : '');
};
const search = async (words, ask) => {
  const hits = new Map();
  if (!words.length) return hits;
  for await (const rows of textRows()) {
    if (ask !== asked) return null;
    for (const [ref, times, text] of rows) {
      const low = text.toLowerCase();
      if (!words.every((w) => low.includes(w))) continue;
      const list = []; let n = 0;
      text.split('\n').forEach((line, i) => {
        const l = line.toLowerCase();
        if (words.some((w) => l.includes(w))) { n++; if (list.length < SNIPPETS) list.push([times[i], snippet(line, words)]); }
      });
      hits.set(ref, { n, list, words });
    }
  }
  return hits;
};
const refresh = async () => {
  const ask = ++asked, words = $('q').value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) $('count').textContent = L.searching + ' …';
  const hits = await search(words, ask);
  if (ask !== asked || hits === null) return;
  found = hits;
  const status = value('status'), language = value('language'), by = value('sort');
  shown = cards.filter((c) => {
    if ((status && c.s !== status) || (language && c.l !== language)) return false;
    if (!words.length || found.has(c.r)) return true;
    const own = [c.t, c.n, c.y, ...c.k].join('\n').toLowerCase();
    return words.every((w) => own.includes(w));
  });
  const names = new Intl.Collator(document.documentElement.lang, { numeric: true });
  if (by === 'q') shown.sort((a, b) => (a.q ?? 101) - (b.q ?? 101));
  if (by === 't') shown.sort((a, b) => names.compare(a.t, b.t));
  if (by === 'd') shown.sort((a, b) => a.d - b.d);
  if (by === '-d') shown.sort((a, b) => b.d - a.d);
  $('grid').replaceChildren(); drawn = 0; more();
  $('empty').hidden = shown.length > 0;
  const n = [...found.values()].reduce((sum, h) => sum + h.n, 0);
  $('count').textContent = words.length ? `${shown.length} ${L.recordings}, ${n} ${L.hits}` : shown.length === cards.length ? '' : `${shown.length} ${L.of} ${cards.length}`;
};
let timer = 0;
$('q').addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(refresh, 150); });
['status', 'language', 'sort'].forEach((id) => { if ($(id)) $(id).addEventListener('change', refresh); });
$('more').addEventListener('click', more);
new IntersectionObserver((seen) => { if (seen[0].isIntersecting && drawn < shown.length) more(); }, { rootMargin: '800px' }).observe($('more').parentNode);
addEventListener('keydown', (e) => {
  if (e.key === '/' && !/^(INPUT|SELECT)$/.test(e.target.tagName)) { e.preventDefault(); $('q').focus(); }
  if (e.key === 'Escape' && e.target === $('q')) { $('q').value = ''; refresh(); }
});

// --- theme, copy ------------------------------------------------------------------------------------
const themed = (t) => { if (t) document.documentElement.dataset.theme = t; };
themed(store.get('theme'));
$('theme').addEventListener('click', () => {
  const now = document.documentElement.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  const next = now === 'dark' ? 'light' : 'dark';
  themed(next); store.set('theme', next);
});
if ($('copy')) $('copy').addEventListener('click', async () => {
  try { await navigator.clipboard.writeText($('cmd').textContent); $('copy').textContent = L.copied; } catch { getSelection().selectAllChildren($('cmd')); }
});

(async () => {
  for (let n = 1; n <= (data.shards || 0); n++) { cards = cards.concat(await shard('data', n)); if (n === 1) refresh(); }
  refresh();
})();
})();
