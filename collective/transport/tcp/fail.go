package tcp

// Fail ends the mesh with cause, as a failure that it has found itself would, and returns
// its first cause. The mesh must still be closed.
func (m *Mesh) Fail(cause error) error { return m.fail(cause) }
