// Draws digits on the page in a real browser, and looks at the answers.
//
//   cargo build --release -p serve
//   npm install --prefix target/browser playwright-core
//   node examples/serve/browser.mjs [--server target/release/serve] [--screenshot FILE]
//
// It takes the Chromium that CHROMIUM names, or one on the path.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { parseArgs } from "node:util";

const root = path.resolve(import.meta.dirname, "../..");
const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: path.join(root, "target/release/serve") },
    screenshot: { type: "string" },
  },
});

function skip(reason) {
  console.log(`SKIPPED the page in a browser: ${reason}`);
  process.exit(0);
}

function onPath(name) {
  try {
    return execFileSync("which", [name], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const executablePath = process.env.CHROMIUM ?? names.map(onPath).find(Boolean);
if (!executablePath) skip("no Chromium, neither in CHROMIUM nor on the path");
let chromium;
try {
  ({ chromium } = createRequire(path.join(root, "target/browser/"))("playwright-core"));
} catch {
  skip("no playwright-core in target/browser: npm install --prefix target/browser playwright-core");
}

/** Starts the server on a free port; its address is in what it says. */
async function start() {
  const server = spawn(options.server, ["--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const failed = new Promise((_, reject) => server.on("error", reject));
  const told = (async () => {
    for await (const line of readline.createInterface(server.stdout)) {
      const address = line.match(/http:\/\/[\d.:]+/);
      if (address) return address[0];
    }
    throw new Error("the server ended before it said where it is");
  })();
  return { server, address: await Promise.race([told, failed]) };
}

// Strokes within a square of side 1.
const { PI, cos, sin } = Math;
const arc = (x, y, width, height, from, to) => Array.from({ length: 25 }, (_, i) => {
  const angle = from + (to - from) * i / 24;
  return [x + width * cos(angle), y + height * sin(angle)];
});
const digits = {
  0: [arc(0.5, 0.5, 0.26, 0.38, 0, 2 * PI)],
  1: [[[0.52, 0.12], [0.5, 0.5], [0.5, 0.88]]],
  2: [[...arc(0.5, 0.3, 0.22, 0.2, -PI, 0.15 * PI), [0.28, 0.88], [0.75, 0.88]]],
  5: [[[0.7, 0.12], [0.34, 0.12], [0.32, 0.45], ...arc(0.48, 0.65, 0.22, 0.23, -0.6 * PI, 0.8 * PI)]],
  9: [[...arc(0.5, 0.32, 0.2, 0.2, 0, -2 * PI), [0.68, 0.4], [0.6, 0.9]]],
  8: [[...arc(0.5, 0.3, 0.17, 0.17, PI / 2, 2.5 * PI), ...arc(0.5, 0.68, 0.2, 0.2, -PI / 2, -2.5 * PI)]],
};

async function draw(page, strokes) {
  const box = await page.locator("#draw").boundingBox();
  const place = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  for (const stroke of strokes) {
    await page.mouse.move(...place(stroke[0]));
    await page.mouse.down();
    for (const point of stroke.slice(1)) await page.mouse.move(...place(point), { steps: 4 });
    await page.mouse.up();
  }
}

async function look(page, digit) {
  await page.locator("#clear").click();
  assert.equal(await page.locator("#answer").textContent(), "?");
  await draw(page, digits[digit]);
  // The page asks while one draws: what counts is the answer once the drawing is whole.
  await page.waitForFunction(() => !waiting && !again && id("answer").textContent !== "?");
  assert.equal(await page.locator("#answer").textContent(), String(digit));
  assert.equal(await page.locator("#blocks .block").count(), 10);
  assert.equal(await page.locator("#blocks .block .bars i").count(), 100);
  assert.equal(await page.locator("#error").textContent(), "");
  console.log(`${digit}: ${await page.locator("#sure").textContent()}`);
}

const { server, address } = await start();
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 770 } });
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  const foreign = [];
  page.on("request", (request) => {
    if (!/^data:/.test(request.url()) && !request.url().startsWith(address)) foreign.push(request.url());
  });
  await page.goto(address, { waitUntil: "networkidle" });
  for (const digit of [0, 1, 2, 5, 9, 8]) await look(page, digit);
  if (options.screenshot) await page.screenshot({ path: options.screenshot });

  const narrow = await browser.newPage({
    viewport: { width: 360, height: 740 }, colorScheme: "dark",
  });
  await narrow.goto(address, { waitUntil: "networkidle" });
  await look(narrow, 0);
  const width = await narrow.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `expected a page at most 360 wide, found ${width}`);
  if (options.screenshot) {
    const file = options.screenshot.replace(/(\.png)?$/, "-narrow.png");
    await narrow.screenshot({ path: file, fullPage: true });
  }
  assert.deepEqual([errors, foreign], [[], []]);
} finally {
  await browser.close();
  server.kill("SIGTERM");
}
const status = await new Promise((resolve) => server.on("exit", resolve));
assert.equal(status, 0, `the server ended with status ${status}`);
console.log("the page answers, and the server ends when asked");
