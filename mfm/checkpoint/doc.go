// Package checkpoint stores the state of a training run on disk, so that the run survives being
// killed at any moment.
//
// A checkpoint is two files in one folder: the tensors, in the safetensors format that every
// framework reads, and a JSON manifest with their checksum:
//
//	step-000002000.safetensors
//	step-000002000.json
//
// Both are written under temporary names, synced and renamed, the manifest last. A checkpoint
// exists only once its manifest does, and the previous one is deleted only after that. [Manager]
// writes the checkpoints of one training run to one folder. [Latest] finds the newest intact
// checkpoint and reports those that are truncated or altered. [WriteWeights] stores only the
// weights of a trained model, in one file; [Read] and [Write] are the safetensors format itself.
package checkpoint
