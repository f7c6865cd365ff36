package shm

// pause tells the processor that the loop around it waits for another one.
func pause()
