package scheduler

// HealthState says how well a metric is.
type HealthState uint8

// The states, with the numbers of the API.
const (
	HealthUnspecified HealthState = iota
	HealthOK
	HealthWarn
	HealthAlert
	HealthNoData
)

// HealthMetric is one row of a queue's health table.
type HealthMetric struct {
	// Name is one of the names in DefaultThresholds.
	Name  string
	Value float64
	// Range says in words what is healthy.
	Range string
	State HealthState
}

// Threshold says up to where a metric is well, and from where on it alerts;
// between them it warns. Where Alert is below Healthy, less is worse.
type Threshold struct {
	Healthy, Alert float64
}

// Thresholds are the thresholds of the metrics by their names.
type Thresholds map[string]Threshold
