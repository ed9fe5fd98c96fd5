// Package data reads, describes and fetches the data sets that maps are trained on.
//
// [MNIST] returns 10,000 real digits that are part of the package, so that everything works offline; [LoadMNIST] loads
// the four files of MNIST, or of any data set that comes in the same form (Fashion-MNIST, EMNIST's digits), from a
// folder; [ReadPair] reads any pair of IDX files; [Fetcher] downloads files, those of [MNISTFiles] among them.
//
// What is read is checked before it is believed: a file that is not what it claims to be gives an error with the
// file's name and the cause, and no more memory is used than what the file really holds.
package data
