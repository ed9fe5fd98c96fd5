package ad

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// elementwiseRules returns the rules of y = f(x) and y = f(a, b). A derivative uses y where that
// saves work, and only ops that have a reverse-mode rule.
func elementwiseRules() map[NodeType]rule {
	return map[NodeType]rule{
		NodeTypeAbs: unary(abs),
		NodeTypeCos: unary(func(x, _, t *Node) *Node { return Neg(Mul(t, Sin(x))) }),
		NodeTypeErf: unary(func(x, _, t *Node) *Node {
			return Mul(t, Mul(scalar(x, 2/math.SqrtPi), Exp(Neg(Mul(x, x)))))
		}),
		NodeTypeExp:      unary(func(_, y, t *Node) *Node { return Mul(t, y) }),
		NodeTypeExpm1:    unary(func(_, y, t *Node) *Node { return Mul(t, Add(y, scalar(y, 1))) }),
		NodeTypeLog:      unary(func(x, _, t *Node) *Node { return Div(t, x) }),
		NodeTypeLog1p:    unary(func(x, _, t *Node) *Node { return Div(t, Add(x, scalar(x, 1))) }),
		NodeTypeLogistic: unary(func(_, y, t *Node) *Node { return Mul(t, Mul(y, Sub(scalar(y, 1), y))) }),
		NodeTypeRsqrt:    unary(func(_, y, t *Node) *Node { return Mul(t, Mul(scalar(y, -0.5), Mul(y, Mul(y, y)))) }),
		NodeTypeSin:      unary(func(x, _, t *Node) *Node { return Mul(t, Cos(x)) }),
		NodeTypeSqrt:     unary(func(_, y, t *Node) *Node { return Div(Mul(t, scalar(y, 0.5)), y) }),
		NodeTypeTanh:     unary(func(_, y, t *Node) *Node { return Mul(t, Sub(scalar(y, 1), Mul(y, y))) }),

		NodeTypeAdd: binary(
			func(_, _, _, t *Node) *Node { return t },
			func(_, _, _, t *Node) *Node { return t }),
		NodeTypeSub: binary(
			func(_, _, _, t *Node) *Node { return t },
			func(_, _, _, t *Node) *Node { return Neg(t) }),
		NodeTypeMul: bilinear,
		NodeTypeDiv: quotient,
		NodeTypePow: binary(powBase, powExponent),
		NodeTypeAtan2: binary( // Atan2(y, x) is the angle of the vector (x, y)
			func(y, x, _, t *Node) *Node { return Div(Mul(t, x), Add(Mul(x, x), Mul(y, y))) },
			func(y, x, _, t *Node) *Node { return Div(Neg(Mul(t, y)), Add(Mul(x, x), Mul(y, y))) }),
		NodeTypeRem: binary( // a - b trunc(a/b)
			func(_, _, _, t *Node) *Node { return t },
			func(a, b, y, t *Node) *Node { return Mul(t, StopGradient(Div(Sub(y, a), b))) }),
		NodeTypeMax:   choice(func(a, b *Node) *Node { return GreaterOrEqual(a, b) }),
		NodeTypeMin:   choice(func(a, b *Node) *Node { return LessThan(a, b) }),
		NodeTypeClamp: clamp,
		NodeTypeWhere: linear(1, 2),

		NodeTypeConvertDType: linear(),
		NodeTypeNeg:          linear(),
		NodeTypeReal:         linear(),
		NodeTypeImag:         linear(),
		NodeTypeConj:         linear(),
		NodeTypeComplex:      linear(),

		NodeTypeArgMinMax:                constant,
		NodeTypeCeil:                     constant,
		NodeTypeEqual:                    constant,
		NodeTypeEqualTotalOrder:          constant,
		NodeTypeFloor:                    constant,
		NodeTypeGreaterOrEqual:           constant,
		NodeTypeGreaterOrEqualTotalOrder: constant,
		NodeTypeGreaterThan:              constant,
		NodeTypeGreaterThanTotalOrder:    constant,
		NodeTypeIsFinite:                 constant,
		NodeTypeIsNaN:                    constant,
		NodeTypeLessOrEqual:              constant,
		NodeTypeLessOrEqualTotalOrder:    constant,
		NodeTypeLessThan:                 constant,
		NodeTypeLessThanTotalOrder:       constant,
		NodeTypeNotEqual:                 constant,
		NodeTypeNotEqualTotalOrder:       constant,
		NodeTypeRound:                    constant,
		NodeTypeSign:                     constant,
	}
}

// unary is the rule of y = f(x), where tangent(x, y, ẋ) = f'(x) ẋ.
func unary(tangent func(x, y, t *Node) *Node) rule {
	return func(n *Node, ts []*Node) []*Node { return one(tangent(n.Inputs()[0], n, ts[0])) }
}

// binary is the rule of y = f(a, b). byA and byB return the partial derivatives times the tangent
// of their argument. a and b broadcast to y's shape if they are scalars or have axes of dimension
// 1.
func binary(byA, byB func(a, b, y, t *Node) *Node) rule {
	return func(n *Node, ts []*Node) []*Node {
		a, b := n.Inputs()[0], n.Inputs()[1]
		var sum *Node
		if ts[0] != nil {
			sum = byA(a, b, n, ts[0])
		}
		if ts[1] != nil {
			sum = add(sum, byB(a, b, n, ts[1]))
		}
		return one(broadcast(sum, n))
	}
}

// quotient is the rule of y = a/b: ẏ = (ȧ - y ḃ)/b.
func quotient(n *Node, ts []*Node) []*Node {
	numerator := ts[0]
	if ts[1] != nil {
		numerator = add(numerator, Neg(Mul(n, ts[1])))
	}
	return one(Div(numerator, n.Inputs()[1]))
}

// choice is the rule of ops that return a where isA holds and b elsewhere.
func choice(isA func(a, b *Node) *Node) rule {
	return func(n *Node, ts []*Node) []*Node {
		condition := isA(n.Inputs()[0], n.Inputs()[1])
		return one(Where(condition, broadcastOrZero(ts[0], n), broadcastOrZero(ts[1], n)))
	}
}

// clamp is the rule of Clamp(low, x, high). At the limits themselves the derivative is that of x.
func clamp(n *Node, ts []*Node) []*Node {
	low, x, high := n.Inputs()[0], n.Inputs()[1], n.Inputs()[2]
	t := Where(LessThan(x, low), broadcastOrZero(ts[0], n), broadcastOrZero(ts[1], n))
	return one(Where(GreaterThan(x, high), broadcastOrZero(ts[2], n), t))
}

// abs returns ±ẋ, with + at zero. For a complex number it returns Re(conj(x) ẋ)/|x|, in real
// products, because GoMLX's reverse mode omits a conjugate in complex ones.
func abs(x, y, t *Node) *Node {
	if x.DType().IsComplex() {
		return Div(Add(Mul(Real(x), Real(t)), Mul(Imag(x), Imag(t))), y)
	}
	return Where(LessThan(x, scalar(x, 0)), Neg(t), t)
}

// powBase returns b a^(b-1) ȧ, which is zero at b = 0, also if a = 0.
func powBase(a, b, _, t *Node) *Node {
	isZero := Equal(b, scalar(b, 0))
	power := Pow(a, Where(isZero, scalar(b, 1), Sub(b, scalar(b, 1))))
	return Mul(t, Mul(b, power))
}

// powExponent returns log(a) a^b ḃ, which is zero at a = 0.
func powExponent(a, _, y, t *Node) *Node {
	isZero := Equal(a, scalar(a, 0))
	return Mul(t, Mul(Log(Where(isZero, scalar(a, 1), a)), y))
}

// broadcast returns x in y's shape. x is a scalar or has axes of dimension 1.
func broadcast(x, y *Node) *Node {
	if x.Shape().EqualDimensions(y.Shape()) {
		return x
	}
	return BroadcastToShape(x, y.Shape())
}

// broadcastOrZero returns t in y's shape, or for nil a scalar zero, which Where broadcasts.
func broadcastOrZero(t, y *Node) *Node {
	if t == nil {
		return scalar(y, 0)
	}
	return broadcast(t, y)
}
