// Takes the README's picture: one held command on the approval page, as a person sees it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const { CHROMIUM, E2E_SERVER, PICTURE } = process.env;
const state = mkdtempSync(join(tmpdir(), 'holdpoint-picture-'));
const server = spawn(E2E_SERVER, [join(state, 'state')], { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
const answer = async () => JSON.parse((await lines.next()).value);
const say = (command) => server.stdin.write(JSON.stringify(command) + '\n');

const call = `curl -sS -X POST https://backboard.example/graphql/v2 -H "Authorization: Bearer $TOKEN" `
  + `--data '{"query":"mutation { volumeDelete(volumeId: 7390) }"}'`;
const plan = {
  argv: ['sh', '-c', call],
  cwd: '/home/dana/shop',
  reasons: [
    { rule: 'approval_policy = "suggest"', origin: '~/.config/holdpoint/config.toml:4', text: 'every command waits for a person' },
    { rule: 'catalog: destructive', origin: 'built-in', text: 'a GraphQL mutation that deletes cannot be taken back' },
  ],
  sandbox: ['may read and write /home/dana/shop', 'cannot read **/.env*, **/secrets/**, **/.railway/**', 'no network'],
};

const browser = await chromium.launch({ executablePath: CHROMIUM, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
try {
  const { pair } = await answer();
  const context = await browser.newContext({ viewport: { width: 900, height: 830 }, deviceScaleFactor: 2 });
  const page = await context.newPage();
  await page.goto(pair);
  await page.getByRole('button', { name: 'Connect this browser' }).click();
  await page.getByText('Nothing is held').waitFor({ timeout: 10_000 });
  say({ do: 'hold', plan });
  await answer();
  await page.getByText('volumeDelete').first().waitFor({ timeout: 10_000 });
  await page.waitForTimeout(3000);
  await page.screenshot({ path: PICTURE });
} finally {
  await browser.close();
  server.kill();
  rmSync(state, { recursive: true, force: true });
}
