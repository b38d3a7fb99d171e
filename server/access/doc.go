// Package access decides who may call what. It owns the identities of callers
// (bearer tokens, JWTs, client certificates), the roles, the table of rules by
// which each method is allowed, and the file that binds identities to roles and
// namespaces.
//
//	credential ── Identify ──> Caller ── Permit ──> handler
//	                 │                      │
//	                 └── UNAUTHENTICATED    └── PERMISSION_DENIED
//
// What has no rule is denied, also to admins. Nothing of a credential is in its
// errors or log lines.
//
// It must not import package server, whose interceptors call it.
package access
