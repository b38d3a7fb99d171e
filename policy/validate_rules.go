package policy

import (
	"fmt"
	"math"
)

func (c *checker) rules(rules []Rule) {
	c.count("rules", len(rules), 0, maxRules)
	limited := 0
	first := make(map[string]int, len(rules))
	for i, r := range rules {
		at := fmt.Sprintf("rules[%d].", i)
		c.rule(at, &r)
		if r.MaxRetries > 0 {
			limited++
		}
		if r.Name == "" {
			continue
		}
		if j, taken := first[r.Name]; taken {
			c.add(at+"name", "is %s, the name of rules[%d] already; allowed: unique names", Quote(r.Name), j)
		} else {
			first[r.Name] = i
		}
	}
	if limited > MaxRuleRetries {
		c.add("rules", "has %d rules with max_retries; allowed: at most %d", limited, MaxRuleRetries)
	}
}

func (c *checker) rule(at string, r *Rule) {
	c.text(at+"name", r.Name)
	if r.Name == "" && r.MaxRetries > 0 {
		c.add(at+"name", "is empty; with max_retries %d the rule needs a name", r.MaxRetries)
	}
	c.match(at+"match.", &r.Match)
	if r.Action < ActionRetry || r.Action > ActionHold {
		c.add(at+"action", "is %v; allowed: RETRY, DEAD_LETTER or HOLD", r.Action)
	}
	if m := r.DelayMultiplier; m != 0 && !(m > 0 && m <= math.MaxFloat64) {
		c.add(at+"delay_multiplier", "is %v; allowed: finite and above 0, or 0 for the default of %d", m, defaultDelayMultiplier)
	}
	c.intRange(at+"max_retries", r.MaxRetries, maxRetries)
	switch {
	case r.Action != ActionHold && r.HoldCondition != "":
		c.add(at+"hold_condition", "is %s with action %v; allowed: only with HOLD", Quote(r.HoldCondition), r.Action)
	case r.Action == ActionHold && !ValidName(r.HoldCondition):
		c.add(at+"hold_condition", "is %s; allowed with HOLD: %s", Quote(r.HoldCondition), NameRule)
	}
}

func (c *checker) match(at string, m *Match) {
	c.each(at+"statuses", m.Statuses, c.status)
	c.each(at+"statuses_except", m.StatusesExcept, c.status)
	c.count(at+"connection_kinds", len(m.ConnectionKinds), 0, maxMatchList)
	for i, k := range m.ConnectionKinds {
		if !validKind(k) {
			c.add(fmt.Sprintf("%sconnection_kinds[%d]", at, i), "is %v; allowed: DNS, REFUSED, RESET, TLS, UNREACHABLE or OTHER", k)
		}
	}
	c.each(at+"grpc_codes", m.GRPCCodes, c.grpcCode)
	c.each(at+"codes", m.Codes, c.code)
	c.each(at+"codes_except", m.CodesExcept, c.code)
	c.each(at+"outcomes", m.Outcomes, c.outcome)
}

func (c *checker) each(field string, tokens []string, check func(field, token string)) {
	c.count(field, len(tokens), 0, maxMatchList)
	for i, token := range tokens {
		check(fmt.Sprintf("%s[%d]", field, i), token)
	}
}

func (c *checker) status(field, token string) {
	if _, _, ok := parseStatus(token); !ok {
		c.add(field, `is %s; allowed: "100" to "599", and the classes "1xx" to "5xx"`, Quote(token))
	}
}

func (c *checker) grpcCode(field, token string) {
	if _, ok := grpcCode(token); !ok {
		c.add(field, "is %s; allowed: the name of a gRPC status code in upper case, such as UNAVAILABLE, other than OK", Quote(token))
	}
}

func (c *checker) code(field, token string) {
	if _, fault := parseCode(token); fault != "" {
		c.add(field, `is %s, which %s; allowed: a code, a range such as "30003-30007", a prefix such as "sms/*"`, Quote(token), fault)
	}
	c.text(field, token)
}

func (c *checker) outcome(field, token string) {
	if token == "" {
		c.add(field, "is empty; allowed: 1 to %d bytes", maxTokenBytes)
	}
	c.text(field, token)
}
