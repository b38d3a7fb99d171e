package policy

import "strconv"

// String is the API's name without its prefix, such as "RETRY".
func (a Action) String() string {
	return enumName(int(a), "ACTION", []string{"UNSPECIFIED", "RETRY", "DEAD_LETTER", "HOLD"})
}

// String is the API's name without its prefix, such as "RETRY_SCHEDULED".
func (r Reason) String() string {
	return enumName(int(r), "REASON", []string{
		"UNSPECIFIED", "RETRY_SCHEDULED", "HELD", "NON_RETRYABLE", "RETRIES_EXHAUSTED",
		"RULE_RETRIES_EXHAUSTED", "MAX_ELAPSED", "DEADLINE", "NO_MORE_DATES", "NO_POLICY",
		"LEASES_EXPIRED",
	})
}

// String is the name of the API's field, in upper case, such as "HTTP".
func (c Cause) String() string {
	return enumName(int(c), "CAUSE", []string{
		"UNSPECIFIED", "HTTP", "GRPC", "TIMEOUT", "CONNECTION", "OUTCOME",
	})
}

// String is the API's name without its prefix, such as "DNS".
func (k ConnectionKind) String() string {
	return enumName(int(k), "KIND", []string{
		"UNSPECIFIED", "DNS", "REFUSED", "RESET", "TLS", "UNREACHABLE", "OTHER",
	})
}

// String is the name of the API's field, in upper case, such as "FULL".
func (k JitterKind) String() string {
	return enumName(int(k), "JITTER", []string{
		"NONE", "PROPORTIONAL", "FULL", "EQUAL", "DECORRELATED",
	})
}

// String is the API's name without its prefix, such as "MAX_OF".
func (m RetryAfterMode) String() string {
	return enumName(int(m), "MODE", []string{"MAX_OF", "OVERRIDE", "IGNORE"})
}

// enumName stays readable for a value that a later version wrote.
func enumName(v int, kind string, names []string) string {
	if v >= 0 && v < len(names) {
		return names[v]
	}
	return kind + "_" + strconv.Itoa(v)
}

// grpcCodeNames are the canonical names; the index is the code. OK is no
// failure, so no policy may name it.
func grpcCodeNames() [17]string {
	return [17]string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
		"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
		"UNAUTHENTICATED",
	}
}

// grpcCode gives the code of a canonical name, 1 to 16.
func grpcCode(name string) (int, bool) {
	for code, n := range grpcCodeNames() {
		if n == name && code > 0 {
			return code, true
		}
	}
	return 0, false
}
