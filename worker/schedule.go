package worker

// Schedule is the learning rate of a step in a world of size ranks.
type Schedule func(step, size int) float64

// Constant is the same rate throughout.
func Constant(rate float64) Schedule {
	return func(int, int) float64 { return rate }
}

// Scaled multiplies a schedule by the world's size, as a global batch that grows with the
// world needs it (Goyal et al. 2017, section 2.1).
func Scaled(s Schedule) Schedule {
	return func(step, size int) float64 { return s(step, size) * float64(size) }
}

// WarmUp reaches next's rate linearly over the first steps (Goyal et al. 2017, section 2.2).
func WarmUp(steps int, next Schedule) Schedule {
	return func(step, size int) float64 {
		rate := next(step, size)
		if step < steps {
			rate *= float64(step+1) / float64(steps+1)
		}
		return rate
	}
}

// Decay multiplies next's rate by factor after every so many steps.
func Decay(every int, factor float64, next Schedule) Schedule {
	return func(step, size int) float64 {
		rate := next(step, size)
		for ; step >= every; step -= every {
			rate *= factor
		}
		return rate
	}
}
