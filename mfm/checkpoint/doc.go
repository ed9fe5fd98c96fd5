// Package checkpoint keeps the state of a training on disk so that it survives being killed at any moment.
//
// A checkpoint is two files in one folder: the tensors, in the safetensors format that every framework reads, and a
// JSON manifest with their checksum:
//
//	step-000002000.safetensors
//	step-000002000.json
//
// Both are written under temporary names, synced and renamed, the manifest last: a checkpoint exists only once its
// manifest does, and the previous one is deleted only after that. [Manager] writes them, one training to a folder;
// [Latest] finds the newest sound one and names those that are torn or altered; [WriteWeights] keeps only the weights
// of a trained model in one file.
package checkpoint
