// Manifests of the Gateway API, KEDA and the Prometheus operator against the schemas of their packages.
// JSON objects on stdin, one a line.

import { createInterface } from 'node:readline';

const PACKAGES = {
  'gateway.networking.k8s.io': 'gateway-api',
  'keda.sh': 'keda',
  'monitoring.coreos.com': 'prometheus-operator',
};

let failed = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const manifest = JSON.parse(line);
  const { apiVersion, kind, metadata, ...rest } = manifest;
  const [group] = apiVersion.split('/');
  const name = `${kind} ${metadata.name}`;
  try {
    const module = await import(`@kubernetes-models/${PACKAGES[group]}/${apiVersion}/${kind}`);
    new module[kind]({ metadata, ...rest }).validate();
    console.log(`ok     ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
