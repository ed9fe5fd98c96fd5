package stream

import (
	"context"
	"errors"
	"sync"
)

// Report describes the pictures of a set.
type Report struct {
	// Count is the number of files that are usable pictures.
	Count int `json:"count"`
	// Classes are the classes in the order of their numbers, null without labels.
	Classes []Class `json:"classes"`
	// Height and Width are the smallest and the largest one in pixels.
	Height [2]int `json:"height"`
	Width  [2]int `json:"width"`
	// Bad are the other files, in the order of the set.
	Bad []*BadFile `json:"bad"`
}

// Class is a class of pictures.
type Class struct {
	Name  string `json:"name"`
	Count int    `json:"count"` // of usable pictures
}

// Inspect decodes all pictures of the set, as many at the same time as there are workers, 0 meaning
// one for each CPU. It calls progress, unless nil, after each picture, one call at a time. It
// returns an error if a file cannot be read for another reason than its content, or when ctx ends.
func (s *Set) Inspect(ctx context.Context, workers int, progress func(done, total int)) (*Report, error) {
	r := &Report{Bad: []*BadFile{}}
	for _, name := range s.classes {
		r.Classes = append(r.Classes, Class{Name: name})
	}
	bad := make(map[int]*BadFile)
	var mu sync.Mutex
	done := 0
	err := parallel(ctx, s.Len(), workers, func(i int) error {
		img, err := s.Picture(i)
		mu.Lock()
		defer mu.Unlock()
		file, isBad := errors.AsType[*BadFile](err)
		if err != nil && !isBad {
			return err
		}
		if isBad {
			bad[i] = file
		} else {
			r.add(s, i, img.Rect.Dy(), img.Rect.Dx())
		}
		if done++; progress != nil {
			progress(done, s.Len())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range s.files {
		if bad[i] != nil {
			r.Bad = append(r.Bad, bad[i])
		}
	}
	return r, nil
}

// add adds picture i.
func (r *Report) add(s *Set, i, height, width int) {
	if r.Count == 0 {
		r.Height, r.Width = [2]int{height, height}, [2]int{width, width}
	}
	r.Height = [2]int{min(r.Height[0], height), max(r.Height[1], height)}
	r.Width = [2]int{min(r.Width[0], width), max(r.Width[1], width)}
	r.Count++
	if s.classes != nil {
		r.Classes[s.files[i].class].Count++
	}
}
