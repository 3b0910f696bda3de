(() => {
'use strict';
const $ = (id) => document.getElementById(id);
const all = (css, root = document) => [...root.querySelectorAll(css)];
const data = JSON.parse($('data').textContent);
const L = data.labels;
const media = $('media');
const rows = all('.s');
const starts = rows.map((r) => +r.dataset.t);
const ends = rows.map((r) => +r.dataset.e);
const chapters = all('#toc a');
const strips = all('#strip a');
const figures = all('.slide');
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let ready = false;      // the player has something to play
let wanted = null;      // seconds to seek to once it has
let lit = -1, litChapter = -1, litSlide = -1;
let following = true, yielded = false;

// --- small things -------------------------------------------------------------------------------
const store = {
  get(k) { try { return localStorage.getItem('gsvr.' + k); } catch { return null; } },
  set(k, v) { try { localStorage.setItem('gsvr.' + k, v); } catch { /* private window */ } },
};
const on = (id, type, fn) => { const el = $(id); if (el) el.addEventListener(type, fn); };
const clock = (s) => {
  s = Math.max(0, Math.floor(s));
  const p = (n) => String(n).padStart(2, '0');
  const h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h}:${p(m)}:${p(s % 60)}` : `${m}:${p(s % 60)}`;
};
// index of the last value <= t, or -1
const at = (list, t) => {
  let lo = 0, hi = list.length;
  while (lo < hi) { const mid = (lo + hi) >> 1; if (list[mid] <= t) lo = mid + 1; else hi = mid; }
  return lo - 1;
};
const current = (el, yes) => { if (el) { if (yes) el.setAttribute('aria-current', 'true'); else el.removeAttribute('aria-current'); } };

// --- theme ----------------------------------------------------------------------------------------
const themed = (t) => { if (t) document.documentElement.dataset.theme = t; };
themed(store.get('theme'));
const flip = () => {
  const now = document.documentElement.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  const next = now === 'dark' ? 'light' : 'dark';
  themed(next); store.set('theme', next);
};
on('theme', 'click', flip);
on('print', 'click', () => print());
addEventListener('beforeprint', () => all('details').forEach((d) => { d.open = true; }));

// --- what is lit ----------------------------------------------------------------------------------
const GAP = 1; // a sentence stays lit through a shorter silence
const spoken = (t) => {
  const i = at(starts, t + 0.001);
  if (i < 0 || t < ends[i]) return i;
  const next = i + 1 < starts.length ? starts[i + 1] : Infinity;
  return next - ends[i] < GAP ? i : -1;
};
const chapterStarts = chapters.map((c) => +c.dataset.t);
const slideStarts = figures.map((f) => +f.dataset.t);
const show = (t) => {
  const i = spoken(t);
  if (i !== lit) {
    current(rows[lit], false); lit = i; current(rows[lit], true);
    if (i >= 0 && following && !yielded) reveal(rows[i]);
  }
  const c = at(chapterStarts, t + 0.001);
  if (c !== litChapter) {
    current(chapters[litChapter], false); litChapter = c; current(chapters[c], true);
    const box = chapters[c] && chapters[c].closest('.toc');
    if (box) box.scrollTop = chapters[c].offsetTop - box.offsetTop - box.clientHeight / 3;
  }
  const s = at(slideStarts, t + 0.001);
  if (s !== litSlide) { current(figures[litSlide], false); litSlide = s; current(figures[s], true); }
  strips.forEach((a) => { a.firstChild.style.width = Math.min(100, Math.max(0, (t - a.dataset.t) / a.dataset.n * 100)) + '%'; });
  $('clock').textContent = `${clock(t)} / ${clock(data.duration)}`;
};
const reveal = (el, always, now) => {
  const box = el.getBoundingClientRect();
  const top = innerHeight * 0.15, bottom = innerHeight * 0.75;
  if (always || box.top < top || box.bottom > bottom) {
    el.scrollIntoView({ block: 'center', behavior: now || calm.matches ? 'instant' : 'smooth' });
  }
};
const yieldTo = () => {
  if (!ready || media.paused || !following || yielded) return;
  yielded = true; $('resume').hidden = false;
};
['wheel', 'touchmove'].forEach((e) => addEventListener(e, yieldTo, { passive: true }));
const resume = () => { yielded = false; $('resume').hidden = true; };
on('resume', 'click', () => { resume(); if (rows[lit]) reveal(rows[lit], true); });
const setFollow = (yes) => { following = yes; resume(); const b = $('follow'); if (b) b.setAttribute('aria-pressed', yes); };
on('follow', 'click', () => setFollow(!following));

// --- player ---------------------------------------------------------------------------------------
const usable = (yes) => {
  ready = yes;
  $('screen').hidden = !yes; $('deck').hidden = !yes; $('lost').hidden = yes;
  $('player').classList.toggle('gone', !yes);
};
const seek = (t, stay) => {
  wanted = t;
  if (stay && ready && rows.length) { yielded = true; $('resume').hidden = false; } else resume();
  if (ready) media.currentTime = t;
  show(t);
};
const lost = () => { if (!media.currentSrc || media.error || media.networkState === 3) usable(false); };
media.addEventListener('error', lost);
media.addEventListener('loadedmetadata', () => { usable(true); if (wanted !== null) media.currentTime = wanted; });
['timeupdate', 'seeking', 'seeked'].forEach((e) => media.addEventListener(e, () => { if (ready) show(media.currentTime); }));
if (media.error || media.networkState === 3) lost();
if (media.readyState > 0) usable(true);
const first = document.querySelector('.slide img');
if (first && media.tagName === 'VIDEO') media.poster = first.src;
on('choose', 'click', () => $('file').click());
on('file', 'change', (e) => { const f = e.target.files[0]; if (f) { media.src = URL.createObjectURL(f); media.load(); } });
strips.forEach((a) => { a.style.flexGrow = Math.max(1, +a.dataset.n); });
const nudge = (s) => { if (ready) media.currentTime = Math.max(0, media.currentTime + s); };
on('back', 'click', () => nudge(-10));
on('fwd', 'click', () => nudge(10));
const speed = $('speed');
const setSpeed = (v) => { speed.value = v; if (speed.selectedIndex < 0) speed.value = '1'; media.playbackRate = media.defaultPlaybackRate = +speed.value; store.set('speed', speed.value); };
setSpeed(store.get('speed') || '1');
speed.addEventListener('change', () => setSpeed(speed.value));

// captions: Chromium refuses <track src=file.vtt> from file://, a Blob works
let track = null;
const captions = (yes) => {
  if (!track && yes && data.vtt) {
    track = document.createElement('track');
    track.kind = 'captions'; track.srclang = data.language || 'und'; track.label = L.captions;
    track.src = URL.createObjectURL(new Blob([data.vtt], { type: 'text/vtt' }));
    media.append(track);
  }
  if (track) track.track.mode = yes ? 'showing' : 'hidden';
  $('cc').setAttribute('aria-pressed', yes); store.set('cc', yes ? '1' : '');
};
if ($('cc')) {
  $('cc').addEventListener('click', () => captions($('cc').getAttribute('aria-pressed') !== 'true'));
  if (store.get('cc')) captions(true);
}

// --- clicks ---------------------------------------------------------------------------------------
const timeOf = (hash) => { const m = /^#t=(\d+(?:\.\d+)?)$/.exec(hash); return m ? +m[1] : null; };
const linkTo = (t) => { try { history.replaceState(null, '', '#t=' + t); } catch { location.hash = 't=' + t; } };
document.addEventListener('click', (e) => {
  const link = e.target.closest('a');
  const copy = e.target.closest('.link');
  const row = e.target.closest('.s');
  const pic = e.target.closest('.pic, .big');
  if (copy) { copyLink(row); return; }
  if (pic) {
    const fig = pic.closest('.slide');
    if (pic.className === 'big' || !ready) enlarge(figures.indexOf(fig));
    if (ready) go(+fig.dataset.t, true);
    return;
  }
  if (link && link.dataset.go !== undefined) {
    if (data.remote && !ready && link.target) return; // opens the source at that moment
    e.preventDefault(); go(+link.dataset.go, link.closest('main') !== null && !link.closest('.s'));
  } else if (link && link.dataset.t !== undefined) {
    e.preventDefault(); go(+link.dataset.t, false);
  } else if (row && !link && !String(getSelection())) {
    go(+row.dataset.t, false);
  }
});
// stay: who reads a summary or looks at slides keeps the place; the player stands beside it
const go = (t, stay) => {
  linkTo(t); seek(t, stay);
  if (stay && rows[lit] && !ready) reveal(rows[lit], true);
};
const copyLink = async (row) => {
  linkTo(row.dataset.t);
  try { await navigator.clipboard.writeText(location.href); } catch { /* the address bar has it */ }
  $('toast').hidden = false; setTimeout(() => { $('toast').hidden = true; }, 1600);
};
// one button, moved to the row under the pointer or the focus
const linker = document.createElement('button');
linker.className = 'link'; linker.title = L.copy_link; linker.setAttribute('aria-label', L.copy_link);
linker.innerHTML = '<svg class="i" viewBox="0 0 24 24" aria-hidden="true"><path d="M10 14a5 5 0 0 0 7 0l3-3a5 5 0 0 0-7-7l-1 1"/><path d="M14 10a5 5 0 0 0-7 0l-3 3a5 5 0 0 0 7 7l1-1"/></svg>';
['mouseover', 'focusin'].forEach((t) => document.addEventListener(t, (e) => {
  const row = e.target.closest && e.target.closest('.s');
  if (row && linker.parentNode !== row) row.append(linker);
}));
const fromHash = () => {
  const t = timeOf(location.hash);
  if (t === null) return;
  seek(t);
  const row = rows[Math.max(0, at(starts, t + 0.001))];
  if (row) { reveal(row, true, true); if (!ready) { current(rows[lit], false); lit = rows.indexOf(row); current(row, true); } }
};
addEventListener('hashchange', fromHash);

// --- slides ---------------------------------------------------------------------------------------
const pictures = figures.map((f) => f.querySelector('img'));
all('.mark').forEach((m) => { const p = pictures[m.dataset.slide - 1]; if (p) m.querySelector('img').src = p.src; else m.querySelector('img').remove(); });
const light = $('light');
let big = -1;
const enlarge = (i) => {
  i = (i + figures.length) % figures.length;
  if (!pictures[i]) return;
  big = i;
  const img = light.querySelector('img');
  img.src = pictures[i].src; img.alt = pictures[i].alt;
  light.querySelector('p').textContent = `${i + 1} / ${figures.length} · ${clock(+figures[i].dataset.t)} · ${pictures[i].alt}`;
  if (!light.open) light.showModal();
};
on('lp', 'click', () => enlarge(big - 1));
on('ln', 'click', () => enlarge(big + 1));
on('lc', 'click', () => light.close());
light.addEventListener('click', (e) => { if (e.target === light || e.target.tagName === 'IMG') light.close(); });
light.addEventListener('keydown', (e) => {
  if (e.key === 'ArrowLeft') enlarge(big - 1);
  if (e.key === 'ArrowRight') enlarge(big + 1);
});

// --- search ---------------------------------------------------------------------------------------
const MAX_HITS = 5000;
let nodes = null, hits = [], hit = -1;
const textNodes = () => {
  const list = [];
  all('[data-find]').forEach((root) => {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const n = walk.currentNode;
      if (n.data.trim() && !n.parentNode.closest('.t, .pill, summary, small, svg')) list.push(n);
    }
  });
  return list;
};
const find = () => {
  const q = $('q').value.trim();
  hits = []; hit = -1;
  all('.hit').forEach((el) => el.classList.remove('hit'));
  if (window.CSS && CSS.highlights) { CSS.highlights.delete('found'); CSS.highlights.delete('current'); }
  $('prev').hidden = $('next').hidden = !q;
  if (!q) { $('count').textContent = ''; return; }
  nodes = nodes || textNodes();
  const pattern = new RegExp(q.replace(/[.*+?^${}()|[\]\\\/]/g, '\\$&').replace(/\s+/g, '\\s+'), 'giu');
  for (const n of nodes) {
    for (const m of n.data.matchAll(pattern)) {
      const r = new Range(); r.setStart(n, m.index); r.setEnd(n, m.index + m[0].length); hits.push(r);
    }
    if (hits.length > MAX_HITS) break;
  }
  if (window.CSS && CSS.highlights) CSS.highlights.set('found', new Highlight(...hits));
  else hits.forEach((r) => r.startContainer.parentNode.classList.add('hit'));
  if (hits.length) step(1); else $('count').textContent = L.no_match;
};
const step = (by) => {
  if (!hits.length) return;
  hit = (hit + by + hits.length) % hits.length;
  const r = hits[hit], el = r.startContainer.parentElement;
  if (window.CSS && CSS.highlights) { const h = new Highlight(r); h.priority = 1; CSS.highlights.set('current', h); }
  const fold = el.closest('details'); if (fold) fold.open = true;
  yieldTo();
  el.scrollIntoView({ block: 'center' });
  $('count').textContent = `${hit + 1} ${L.of} ${hits.length}${hits.length > MAX_HITS ? '+' : ''}`;
};
let timer = 0;
on('q', 'input', () => { clearTimeout(timer); timer = setTimeout(find, 120); });
on('q', 'keydown', (e) => {
  if (e.key === 'Enter') { e.preventDefault(); step(e.shiftKey ? -1 : 1); }
  if (e.key === 'Escape') { e.target.value = ''; find(); e.target.blur(); }
});
on('next', 'click', () => step(1));
on('prev', 'click', () => step(-1));

// --- keys -----------------------------------------------------------------------------------------
on('help', 'click', () => $('keys').showModal());
const sentence = (by) => {
  const i = Math.min(rows.length - 1, Math.max(0, (lit >= 0 ? lit : at(starts, wanted || 0)) + by));
  if (rows[i]) { go(starts[i], false); reveal(rows[i]); }
};
const faster = (by) => { const o = speed.options[speed.selectedIndex + by]; if (o) setSpeed(o.value); };
const keys = {
  ' ': () => { if (ready) { if (media.paused) { resume(); media.play().catch(() => {}); } else media.pause(); } },
  ArrowLeft: () => nudge(-5), ArrowRight: () => nudge(5),
  j: () => sentence(1), k: () => sentence(-1),
  '/': () => { $('q').focus(); $('q').select(); }, '?': () => $('keys').showModal(),
  '<': () => faster(-1), '>': () => faster(1),
  c: () => { if ($('cc')) $('cc').click(); }, f: () => { if ($('follow')) $('follow').click(); }, t: flip,
};
addEventListener('keydown', (e) => {
  const el = e.target;
  if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(el.tagName) || (/^(BUTTON|A|SUMMARY|VIDEO|AUDIO)$/.test(el.tagName) && e.key === ' ')) return;
  if (/^(VIDEO|AUDIO)$/.test(el.tagName) && e.key.startsWith('Arrow')) return;
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); } else if (/^(PageUp|PageDown|Home|End|ArrowUp|ArrowDown)$/.test(e.key)) yieldTo();
});
fromHash();
})();
