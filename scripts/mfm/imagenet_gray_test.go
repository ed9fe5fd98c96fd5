package main

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Gray picture files have three channels for the training of an autoencoder, in memory and not, as
// for that of the map on its latents.
func TestGrayFolder(t *testing.T) {
	dir := t.TempDir()
	pictures := filepath.Join(dir, "pictures")
	for i := range 16 {
		img := image.NewGray(image.Rect(0, 0, 8, 8))
		for p := range img.Pix {
			img.Pix[p] = byte(3*p + 11*i)
		}
		var raw bytes.Buffer
		if err := png.Encode(&raw, img); err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(pictures, []string{"a", "b"}[i%2])
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, folder, fmt.Sprintf("%d.png", i), raw.String())
	}
	network := func(channels int) string {
		return fmt.Sprintf(`network={"images": %d, "latents": 2, "channels": [4, 8], "blocks": 1, "groups": 2,
			"scale": 1, "shift": 0}`, channels)
	}
	common := []string{"--data", pictures, "--size", "8", "--steps", "2", "--batch", "4", "--out"}
	train := append([]string{"train", "autoencoder", "--set", network(3)}, common...)
	must(t, append(slices.Clone(train), filepath.Join(dir, "memory"))...)
	must(t, append(slices.Clone(train), filepath.Join(dir, "files"), "--set", "memory=1")...)
	for name, more := range map[string][]string{"x": nil, "y": {"--set", "memory=1"}} {
		args := append([]string{"train", "autoencoder", "--set", network(1)}, common...)
		args = append(append(args, filepath.Join(dir, name)), more...)
		refused(t, "one channel", args, "images of 3 channels: network.images = 1")
	}
	train = append([]string{"train", "imagenet", "--autoencoder", filepath.Join(dir, "memory"), "--set",
		"network=" + smallMLP, "--set", "network.classes=2", "--loss", "diagonal", "--distillation", "self",
		"--no-verdict"}, common...)
	must(t, append(train, filepath.Join(dir, "map"))...)
}
