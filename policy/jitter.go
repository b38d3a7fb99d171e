package policy

// span is an inclusive range of whole milliseconds.
type span struct{ lo, hi int64 }

// at maps a draw from [0, 1) evenly to the milliseconds of the span.
func (s span) at(u float64) int64 {
	return min(s.lo+int64(u*float64(s.hi-s.lo+1)), s.hi)
}

func (s span) open() bool { return s.hi > s.lo }

// jitterSpan is the range that step 6 draws from for a base delay of d, where
// lastMS is the step's last result. The ends are rounded inwards, so that no
// draw leaves the range that the policy's author reads from it.
func (c *Compiled) jitterSpan(d, lastMS int64) span {
	switch c.jitter.Kind {
	case JitterProportional:
		r := c.jitter.Proportion
		s := span{
			lo: roundUp(scale(float64(d), 1-r)),
			hi: roundDown(scale(float64(d), 1+r)),
		}
		if c.maxDelayMS > 0 {
			// Cut before the draw: cutting its result would pile all that is drawn
			// above the cap up at the cap, the very herd that jitter is to prevent.
			s.hi = min(s.hi, c.maxDelayMS)
		}
		return span{s.lo, max(s.lo, s.hi)}
	case JitterFull:
		return span{0, d}
	case JitterEqual:
		return span{d - d/2, d}
	case JitterDecorrelated:
		if lastMS <= 0 {
			lastMS = c.initialMS
		}
		// A policy edit may leave a last delay under a third of the new initial one.
		return span{c.initialMS, max(c.initialMS, min(lastMS, maxDelayMS/3)*3)}
	default:
		return span{d, d}
	}
}

// jitterCut is what a draw of step 6 comes out as. Only decorrelated jitter is
// cut after its draw; the ranges of the others end at the cap.
func (c *Compiled) jitterCut(ms int64) int64 {
	if c.jitter.Kind == JitterDecorrelated && c.maxDelayMS > 0 {
		return min(ms, c.maxDelayMS)
	}
	return ms
}

// drawJitter is step 6: the delay of a retry whose base delay is d.
func (c *Compiled) drawJitter(d, lastMS int64, sd *seed, s *stepList) int64 {
	if c.jitter.Kind == JitterNone {
		return d
	}
	from := c.jitterSpan(d, lastMS)
	drawn := from.lo
	if from.open() {
		drawn = from.at(sd.draw(drawJitter))
	}
	result := c.jitterCut(drawn)
	s.add(StepJitter, "", int64(c.jitter.Kind), floatArg(c.jitter.Proportion), from.lo, from.hi, drawn)
	if result < drawn {
		s.add(StepMaxDelay, "", result)
	}
	return result
}
