package bpe_test

import (
	"fmt"

	"github.com/gomfm/gomfm/mfm/nn/clip/bpe"
)

// A vocabulary has a token for each byte, for each byte that ends a word, and for pairs that it
// lists.
func ExampleTokenizer() {
	t, err := bpe.Read([]byte("#version\nc a\nca t</w>"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Tokens("Cat, can", bpe.OpenCLIP, 8))
	// Output: [514 513 267 512 333 515 0 0] <nil>
}
