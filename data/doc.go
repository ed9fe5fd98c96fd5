// Package data reads, describes and downloads the data sets for training.
//
// [MNIST] returns 10,000 real digits that are embedded in the package, so that everything works
// offline. [Load] loads images of one's own, gray or RGB, in one of [Formats]: a folder of PNG,
// JPEG or WebP images, tar files (WebDataset) or a CSV file of paths to such images, a .npy file
// ([ReadNPY]), or the four files of MNIST, or of a data set in the same form (Fashion-MNIST,
// EMNIST's digits), in a folder ([LoadMNIST]). [ReadPair] reads any pair of IDX files. They return
// [Images], which has methods to split, shuffle and normalize. [Fetcher] downloads files, for
// example [MNISTFiles].
//
// Package stream makes batches of picture files that are more than the memory holds, package
// imagefile decodes and resizes one of them.
//
// Readers validate their input: a malformed file gives an error with the file's name and the cause,
// and reading takes no more memory than the file's actual contents.
package data
