/* Behaviour of visitors for Social CRM: page views, time really spent, buttons, forms, shares. See docs/browser.md. */
(function (w, d) {
  "use strict";
  var tag = d.currentScript;
  if (!tag || w.scrm) return;
  var set = tag.dataset, edge = new URL(tag.src).origin;
  var BUCKET = 10000, MIDDLE = 5000, IDLE = 30000, LAST_BUCKET = 8640, REPORT = 6, MOST_KEPT = 100;
  var queue = [], timer = 0, pause = 1000, view = null, started = false, lastInput = 0, cameBy = {}, memory = {};

  function id() {
    if (w.crypto && crypto.randomUUID) return crypto.randomUUID();
    return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, function (c) {
      return (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16);
    });
  }
  function kept(store, key, value) {
    try {
      var room = w[store];
      if (value === undefined) return room.getItem(key) || memory[key] || "";
      if (value) room.setItem(key, value); else room.removeItem(key);
    } catch (e) { /* storage is forbidden: what is known lasts as long as the page */ }
    if (value === undefined) return memory[key] || "";
    memory[key] = value;
    return value;
  }
  function visitor() { return kept("localStorage", "scrm_visitor") || kept("localStorage", "scrm_visitor", id()); }
  function now() { return performance.now(); }

  /* Sending: in batches, again after a failure, and by beacon when the page goes. An event keeps its id, so twice is once. */
  function send(name, properties, more) {
    var user = kept("localStorage", "scrm_user"), message = {
      type: name === "identify" ? name : "track", event: name, messageId: id(), anonymousId: visitor(), timestamp: new Date().toISOString(),
      properties: properties,
      context: { page: { path: location.pathname }, timezone: Intl.DateTimeFormat().resolvedOptions().timeZone, scrm: more || {} }
    };
    if (user) message.userId = user;
    if (set.channel) message.channel = set.channel;
    if (cameBy.campaign) message.context.campaign = cameBy.campaign;
    queue.push(message);
    if (!timer) timer = setTimeout(flush, pause);
  }
  function body(batch) { return JSON.stringify({ writeKey: set.key, sentAt: new Date().toISOString(), batch: batch }); }
  function again(batch) {
    queue = batch.concat(queue).slice(-MOST_KEPT);
    pause = Math.min(pause * 2, 60000);
    if (!timer) timer = setTimeout(flush, pause);
  }
  function flush() {
    timer = 0;
    if (!started || !queue.length) return;
    var batch = queue.splice(0, MOST_KEPT);
    fetch(edge + "/v1/b", { method: "POST", body: body(batch), keepalive: batch.length < 20, credentials: "omit" }).then(function (answer) {
      if (answer.status === 429 || answer.status >= 500 || answer.status === 408) again(batch); else pause = 1000;
      if (queue.length && !timer) timer = setTimeout(flush, pause);
    }, function () { again(batch); });
  }
  function flushByBeacon() {
    var batch = queue.splice(0, MOST_KEPT);
    if (started && batch.length && !navigator.sendBeacon(edge + "/v1/b", body(batch))) kept("localStorage", "scrm_unsent", JSON.stringify(batch));
  }

  /* One page view: opened, engaged with in ten-second buckets, left. */
  function open() {
    view = { id: id(), path: location.pathname, content: set.content || location.pathname, at: now(), next: 0, buckets: [], scroll: 0, left: false };
    lastInput = now();
    scrolled();
    send("content_viewed", { content_id: view.content, page_view_id: view.id, referrer: d.referrer.split(/[?#]/)[0] }, { shareId: cameBy.share, codeKey: cameBy.code });
  }
  function wall() { return Math.round(now() - view.at); }
  function tick() {
    if (!view || view.left) return;
    while (view.next <= LAST_BUCKET && wall() >= view.next * BUCKET + MIDDLE) {
      var fresh = wall() < view.next * BUCKET + MIDDLE + BUCKET;
      if (fresh && d.visibilityState === "visible" && now() - lastInput < IDLE) view.buckets.push(view.next);
      view.next++;
    }
    if (view.buckets.length >= REPORT) report();
  }
  function report() {
    if (!view.buckets.length) return;
    send("content_engaged", { content_id: view.content, page_view_id: view.id, active_buckets: view.buckets, wall_ms: wall() });
    view.buckets = [];
  }
  function leave() {
    if (!view || view.left) return;
    tick();
    report();
    view.left = true;
    send("content_left", { content_id: view.content, page_view_id: view.id, duration_ms: wall(), scroll_pct: view.scroll });
  }
  function scrolled() {
    var room = d.documentElement.scrollHeight;
    if (view && room) view.scroll = Math.max(view.scroll, Math.min(100, Math.round(100 * (w.scrollY + w.innerHeight) / room)));
  }
  function moved() {
    if (!view || view.path === location.pathname) return;
    leave();
    open();
  }

  /* What is clicked and submitted: names of buttons, forms and fields, and never what was typed. */
  function nameOf(element) {
    var text = element.tagName === "INPUT" ? element.value : element.textContent;
    return element.dataset.scrmButton || element.id || element.getAttribute("name") || element.getAttribute("aria-label") || (text || "").trim().replace(/\s+/g, " ").slice(0, 40);
  }
  function clicked(event) {
    var target = event.target.closest && event.target.closest("[data-scrm-button],button,a,[role=button],input[type=button],input[type=submit]");
    if (!target || target.closest("[data-scrm-off]")) return;
    var name = nameOf(target);
    if (name) send("button_clicked", { button_id: name, page: location.pathname, content_id: view ? view.content : "" });
  }
  function submitted(event) {
    var form = event.target, names = [];
    if (!form.elements || form.closest("[data-scrm-off]")) return;
    [].forEach.call(form.elements, function (it) {
      if (it.name && it.type !== "hidden" && it.type !== "password" && (it.type === "checkbox" || it.type === "radio" ? it.checked : it.value) && names.indexOf(it.name) < 0) names.push(it.name);
    });
    send("form_submitted", { form_id: form.dataset.scrmForm || form.id || form.getAttribute("name") || location.pathname, fields: names });
  }

  /* Through what the visitor came: a hit on one of our links, a share, a channel code, a campaign. */
  function arrive() {
    var asked = new URLSearchParams(location.search), url = new URL(location.href), utm = {}, hit = asked.get("scrm_hit");
    ["share", "code"].forEach(function (it) {
      var found = asked.get("scrm_" + it);
      cameBy[it] = (found ? kept("sessionStorage", "scrm_" + it, found) : kept("sessionStorage", "scrm_" + it)) || undefined;
    });
    ["source", "medium", "campaign", "term", "content"].forEach(function (it) {
      if (asked.get("utm_" + it)) utm[it === "campaign" ? "name" : it] = asked.get("utm_" + it);
    });
    if (Object.keys(utm).length) cameBy.campaign = utm;
    if (hit) {
      seen(hit);
      url.searchParams.delete("scrm_hit");
      history.replaceState(history.state, "", url);
    }
  }
  function seen(hit) {
    if (d.visibilityState !== "visible") {
      d.addEventListener("visibilitychange", function () { seen(hit); }, { once: true });
      return;
    }
    navigator.sendBeacon(edge + "/l/seen", JSON.stringify({ hit: hit, visitor: visitor() }));
  }

  function start() {
    if (started) return;
    started = true;
    try {
      var unsent = kept("localStorage", "scrm_unsent");
      if (unsent) again(JSON.parse(unsent));
    } catch (e) { /* somebody else wrote there */ }
    kept("localStorage", "scrm_unsent", "");
    arrive();
    open();
    ["pointerdown", "pointermove", "keydown", "touchstart", "wheel", "scroll", "timeupdate"].forEach(function (it) {
      w.addEventListener(it, function () { lastInput = now(); if (it === "scroll") scrolled(); }, { capture: true, passive: true });
    });
    d.addEventListener("click", clicked, true);
    d.addEventListener("submit", submitted, true);
    d.addEventListener("visibilitychange", function () { if (d.visibilityState === "hidden") { tick(); report(); flushByBeacon(); } });
    w.addEventListener("pagehide", function () { leave(); flushByBeacon(); });
    w.addEventListener("pageshow", function (event) { if (event.persisted) open(); });
    w.addEventListener("popstate", moved);
    ["pushState", "replaceState"].forEach(function (it) {
      var real = history[it];
      history[it] = function () { var found = real.apply(history, arguments); moved(); return found; };
    });
    setInterval(tick, 1000);
  }

  w.scrm = {
    start: start,
    track: function (name, properties) { send(name, properties || {}); },
    identify: function (user) { kept("localStorage", "scrm_user", String(user)); send("identify"); },
    reset: function () { kept("localStorage", "scrm_user", ""); kept("localStorage", "scrm_visitor", id()); },
    share: function (target) {
      var mine = id(), url = new URL(location.href);
      send("content_shared", { content_id: view ? view.content : location.pathname, share_id: mine, target: target || "" }, { shareId: cameBy.share });
      url.searchParams.set("scrm_share", mine);
      return url.href;
    }
  };
  if (!("wait" in set)) start();
})(window, document);
