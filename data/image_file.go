package data

import (
	"image"
	"image/color"
	_ "image/jpeg" // for image.Decode
	_ "image/png"  // for image.Decode
	"io"
)

// DecodeImage decodes a PNG or JPEG as PIL does: a PNG to the same pixels, a JPEG up to rounding, at
// most a few gray levels. It allocates what the header promises: check [image.DecodeConfig] first for
// a file that is not trusted.
func DecodeImage(r io.Reader) (image.Image, error) {
	img, _, err := image.Decode(r)
	if err != nil {
		return nil, err
	}
	return upsampled(img), nil
}

// upsampled returns a JPEG's picture with its color planes upsampled by a triangle filter, as
// libjpeg, and so PIL, does. The standard library repeats each color sample instead, which costs
// half a decibel in a small picture. Pictures whose planes have other ratios than 1 and 2 are
// returned unchanged.
func upsampled(img image.Image) image.Image {
	planes, ok := img.(*image.YCbCr)
	if !ok {
		return img
	}
	var tall bool
	switch planes.SubsampleRatio {
	case image.YCbCrSubsampleRatio420:
		tall = true
	case image.YCbCrSubsampleRatio422:
	default:
		return img
	}
	size := planes.Rect.Size()
	cb := upsampledPlane(planes.Cb, planes.CStride, size, tall)
	cr := upsampledPlane(planes.Cr, planes.CStride, size, tall)
	to := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			at := y*size.X + x
			r, g, b := color.YCbCrToRGB(planes.Y[y*planes.YStride+x], cb[at], cr[at])
			copy(to.Pix[y*to.Stride+4*x:], []uint8{r, g, b, 0xff})
		}
	}
	return to
}

// upsampledPlane doubles a plane's width, and its height if tall is set. Each new sample is 3/4 of
// the nearest old one and 1/4 of the next, along each axis, rounded as libjpeg does.
func upsampledPlane(plane []uint8, stride int, size image.Point, tall bool) []uint8 {
	width, height := (size.X+1)/2, size.Y
	if tall {
		height = (size.Y + 1) / 2
	}
	to := make([]uint8, 0, size.X*size.Y)
	sums := make([]int, width) // of a row, 4 times the samples if tall
	for y := range size.Y {
		row := y
		if tall {
			row = y / 2
		}
		other := row
		if tall {
			other = min(max(row-1+2*(y%2), 0), height-1)
		}
		for x := range sums {
			sums[x] = int(plane[row*stride+x])
			if tall {
				sums[x] = 3*sums[x] + int(plane[other*stride+x])
			}
		}
		for x := range size.X {
			near := sums[x/2]
			next := sums[min(max(x/2-1+2*(x%2), 0), width-1)]
			sum := 3*near + next
			if tall {
				to = append(to, uint8((sum+8-x%2)>>4))
			} else {
				to = append(to, uint8((sum+1+x%2)>>2))
			}
		}
	}
	return to
}
