package data

// Summary describes a set of images in a few numbers.
type Summary struct {
	Count       int     `json:"count"`        // images
	Shape       []int   `json:"shape"`        // of one image: [height, width, channels]
	ClassCounts []int   `json:"class_counts"` // images of class 0, 1, ... up to the largest label; null without labels
	Mean        float64 `json:"mean"`         // of all pixels, each in [-1, 1]
	Variance    float64 `json:"variance"`     // about the mean image, as [Images.Variance]
}

// Inspect reads a pair of IDX files with every check of [ReadPair] and describes what is in them.
func Inspect(imagesPath, labelsPath string) (*Summary, error) {
	m, err := ReadPair(imagesPath, labelsPath)
	if err != nil {
		return nil, err
	}
	return m.Summary()
}

// Summary describes m. It fails where m does not satisfy [Images.Validate].
func (m *Images) Summary() (*Summary, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	var counts []int
	if m.Labels != nil {
		var err error
		if counts, err = m.ClassCounts(m.Classes()); err != nil {
			return nil, err
		}
	}
	image := m.Mean()
	variance, err := m.Variance(image)
	if err != nil {
		return nil, err
	}
	mean := 0.0
	for _, v := range image {
		mean += float64(v) / float64(len(image))
	}
	return &Summary{
		Count:       m.N,
		Shape:       []int{m.Height, m.Width, m.Channels},
		ClassCounts: counts,
		Mean:        mean,
		Variance:    variance,
	}, nil
}
