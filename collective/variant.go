package collective

import "github.com/gorun-ml/gorun/topology"

// With makes a communicator of the same ranks whose all-reduce is the algorithm of that
// name, whatever the size. Like Sub, every rank calls it and closes what it returns.
func (c *Comm) With(algorithm string) (*Comm, error) {
	o := c.options
	o.Lanes, o.Algorithm = 1, algorithm
	if err := new(choice).init(c.world, o.Links, algorithm, c.shares); err != nil {
		return nil, err
	}
	return c.join("communicator for "+algorithm, c.ranks, c.rank, c.world, o)
}

// Algorithm is the name of the all-reduce for a vector of that many bytes.
func (c *Comm) Algorithm(bytes int) string {
	return algorithmName(c.choice.algorithm(allReduce, bytes))
}

// Algorithms is the names that With takes, the preferred first.
func (c *Comm) Algorithms() []string {
	var names []string
	if c.shares {
		names = append(names, sharedName)
	}
	for _, n := range topology.AlgorithmsFor(topology.AllReduce) {
		names = append(names, n.Name)
	}
	return names
}
