// Package worker is what a training program imports: it turns a loop over batches into one
// that runs on many ranks, survives the death of any of them, and follows the same
// trajectory whatever their number.
//
//	func main() { worker.Main(run) }
//
//	func run(ctx context.Context) error {
//		state := &worker.State{Model: model, Optimizer: optimizer, Rate: worker.Constant(0.1)}
//		batches := worker.Sampler{Samples: images.Len(), Batch: 64, Epochs: 3, Seed: 1}
//		return worker.Run(ctx, state, func(ctx context.Context, s *worker.Session) error {
//			for step := range s.Steps(batches) {
//				if _, err := s.Train(step, images.Row); err != nil {
//					return err
//				}
//			}
//			return s.Save("model.safetensors")
//		})
//	}
//
// Run calls the training function once a generation: again after every change of the
// membership, with State already brought up to date, and Steps goes on where the job is.
package worker
