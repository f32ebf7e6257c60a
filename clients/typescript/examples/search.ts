// Registers somebody by an email address and finds the customer again: `SCRM_TOKEN=$(make -s token) node dist/examples/search.js jane@example.com`.

import { IdentityService } from "../gen/scrm/identity/v1/identity_service_pb.js";
import { ProfileService } from "../gen/scrm/identity/v1/profile_service_pb.js";
import { connect, createClient, POSITION, refusalOf } from "../src/index.js";

const email = process.argv[2] ?? "";
const crm = connect({
  baseUrl: process.env["SCRM_GATEWAY"] ?? "http://127.0.0.1:8080",
  token: process.env["SCRM_TOKEN"] ?? "",
});
const identity = createClient(IdentityService, crm.transport);
const profiles = createClient(ProfileService, crm.transport);

try {
  const known = await identity.lookupCustomer({ identifier: { namespace: "email", value: email } });
  console.log("known before as", known.customer?.customerId);
} catch (error) {
  const { reason } = refusalOf(error);
  if (reason !== "CUSTOMER_NOT_FOUND") throw error;
  console.log("not known before");
}
const { customerId } = await identity.resolveIdentity({ identifiers: [{ namespace: "email", value: email }] });
console.log("customer", customerId);
// Searches read what is written a moment later; with the position of the write they wait for it.
const headers = { [POSITION]: crm.position("identity") ?? "0" };
const { hits } = await profiles.searchCustomers({ query: email }, { headers });
console.log("found", ...hits.map((hit) => hit.customer?.customerId));
