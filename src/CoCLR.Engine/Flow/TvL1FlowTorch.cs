// Why this exists: where there is a GPU, thousands of frame pairs are worth one batch.
using TorchSharp;
using static TorchSharp.torch;

namespace CoCLR.Engine.Flow;

/// <summary>
/// TV-L1 optical flow of many frame pairs at once, on any device (method.md 1f): the algorithm of <see cref="TvL1Flow"/> in tensors. Each
/// pair stops by its own residual, so that a pair's flow does not depend on what else is in the batch. Equal to <see cref="TvL1Flow"/> up
/// to rounding.
/// </summary>
public sealed class TvL1FlowTorch
{
    // Asking whether any pair still moves waits for the device, so it is asked now and then only.
    private const int IterationsBetweenChecks = 5;
    private readonly TvL1Options _options;
    private readonly Device _device;

    /// <summary>Creates the estimator.</summary>
    /// <param name="device">Where to compute.</param>
    /// <param name="options">Parameters; OpenCV's defaults when null.</param>
    /// <exception cref="CoCLR.Core.UserErrorException">A parameter is outside its range.</exception>
    /// <exception cref="ArgumentException">A warm start is asked for, which a batch cannot have.</exception>
    public TvL1FlowTorch(Device device, TvL1Options? options = null)
    {
        _options = options ?? new TvL1Options();
        _options.Validate();
        if (_options.WarmStart)
        {
            throw new ArgumentException("The pairs of a batch cannot start from one another's flow: use TvL1Flow.", nameof(options));
        }

        _device = device;
    }

    /// <summary>Flow between the consecutive frames of one video.</summary>
    /// <param name="frames">Grey frames [F, H, W], 0 to 255, any type, any device.</param>
    /// <returns>Flow [F - 1, 2, H, W], float32 on this estimator's device: pixels in x, pixels in y.</returns>
    public Tensor EstimateSequence(Tensor frames)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var pyramid = BuildPyramid(frames);
        var pairs = frames.shape[0] - 1;
        return Solve([.. pyramid.Select(level => level.narrow(0, 0, pairs))], [.. pyramid.Select(level => level.narrow(0, 1, pairs))])
            .MoveToOuterDisposeScope();
    }

    /// <summary>Flow of unrelated pairs.</summary>
    /// <param name="first">First frames [N, H, W], 0 to 255, any type, any device.</param>
    /// <param name="second">Second frames, same shape.</param>
    /// <returns>Flow [N, 2, H, W], float32 on this estimator's device: pixels in x, pixels in y.</returns>
    public Tensor Estimate(Tensor first, Tensor second)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        return Solve(BuildPyramid(first), BuildPyramid(second)).MoveToOuterDisposeScope();
    }

    private static Tensor Resample(Tensor images, int width, int height, double stepX, double stepY)
    {
        using var scope = NewDisposeScope();
        var rows = Axis(images, images.dim() - 2, height, stepY);
        return Axis(rows, images.dim() - 1, width, stepX).MoveToOuterDisposeScope();
    }

    private static Tensor Axis(Tensor images, long dimension, int size, double step)
    {
        var from = (int)images.shape[dimension];
        var (index, fraction) = Resampler.Weights(from, size, step);
        var shape = new long[images.dim()];
        Array.Fill(shape, 1);
        shape[dimension] = size;
        var low = tensor([.. index.Select(i => (long)i)], dtype: ScalarType.Int64).to(images.device);
        var high = tensor([.. index.Select(i => (long)Math.Min(i + 1, from - 1))], dtype: ScalarType.Int64).to(images.device);
        var weight = tensor(fraction).to(images.device).reshape(shape);
        var left = images.index_select(dimension, low);
        return left + (weight * (images.index_select(dimension, high) - left));
    }

    private static Tensor MedianFilter(Tensor images, int side)
    {
        using var scope = NewDisposeScope();
        var border = side / 2;
        var (height, width) = (images.shape[2], images.shape[3]);
        var padded = nn.functional.pad(images, [border, border, border, border], PaddingModes.Replicate);

        // Takes its arguments over: a filter of a large batch would else hold a hundred copies of it.
        Tensor[] Sorted(Tensor[] values)
        {
            for (var i = 1; i < values.Length; i++)
            {
                for (var j = i; j > 0; j--)
                {
                    using var a = values[j - 1];
                    using var b = values[j];
                    (values[j - 1], values[j]) = (minimum(a, b), maximum(a, b));
                }
            }

            return values;
        }

        // Columns in order, then rows; see MedianFilter<T> for why so few elements are left.
        var columns = Sorted([.. Enumerable.Range(0, side).Select(dy => padded.narrow(2, dy, height))]);
        Tensor[] Row(int k) => Sorted([.. Enumerable.Range(0, side).Select(dx => columns[k].narrow(3, dx, width))]);
        Tensor Middle3(Tensor a, Tensor b, Tensor c) => Sorted([a, b, c])[1];
        if (side == 3)
        {
            return Middle3(Row(0)[2], Row(1)[1], Row(2)[0]).MoveToOuterDisposeScope();
        }

        var r0 = Row(0);
        var r1 = Row(1);
        var r2 = Row(2);
        var r3 = Row(3);
        var r4 = Row(4);
        var low = maximum(maximum(r0[3], r1[2]), maximum(r2[1], r3[0]));
        var high = minimum(minimum(r1[4], r2[3]), minimum(r3[2], r4[1]));
        var middle = Sorted([r0[4], r1[3], r2[2], r3[1], r4[0]])[2];
        return Middle3(low, middle, high).MoveToOuterDisposeScope();
    }

    private List<Tensor> BuildPyramid(Tensor frames)
    {
        if (frames.dim() != 3)
        {
            throw new ArgumentException($"Frames must be [N, H, W] but have {frames.dim()} dimensions.", nameof(frames));
        }

        var sizes = Pyramid.Sizes((int)frames.shape[2], (int)frames.shape[1], _options);
        var levels = new List<Tensor> { frames.to(_device).to(ScalarType.Float32) };
        foreach (var (width, height) in sizes.Skip(1))
        {
            levels.Add(Resample(levels[^1], width, height, 1.0 / _options.ScaleStep, 1.0 / _options.ScaleStep));
        }

        return levels;
    }

    private Tensor Solve(List<Tensor> first, List<Tensor> second)
    {
        if (!first[0].shape.SequenceEqual(second[0].shape))
        {
            throw new ArgumentException("First and second frames differ in shape.", nameof(second));
        }

        var coarsest = first[^1].shape;
        var flow = zeros([coarsest[0], 2, coarsest[1], coarsest[2]], ScalarType.Float32, _device);
        for (var scale = first.Count - 1; scale >= 0; scale--)
        {
            SolveScale(first[scale], second[scale], flow);
            if (scale > 0)
            {
                var (height, width) = ((int)first[scale - 1].shape[1], (int)first[scale - 1].shape[2]);
                var finer = Resample(flow, width, height, (double)flow.shape[3] / width, (double)flow.shape[2] / height);
                flow.Dispose();
                flow = finer.mul_(1.0 / _options.ScaleStep);
            }
        }

        return flow;
    }

    private void SolveScale(Tensor first, Tensor second, Tensor flow)
    {
        using var scope = NewDisposeScope();
        var (count, height, width) = (first.shape[0], first.shape[1], first.shape[2]);
        var images = WithGradients(second);

        // Dual variables with a zero before their first column or row: their divergence is then one difference of two views.
        var dualX = zeros([count, 2, height, width + 1], ScalarType.Float32, _device);
        var dualY = zeros([count, 2, height + 1, width], ScalarType.Float32, _device);
        var flowX = zeros([count, 2, height, width], ScalarType.Float32, _device);
        var flowY = zeros([count, 2, height, width], ScalarType.Float32, _device);
        var state = new State(flow, dualX, dualY, flowX, flowY);
        for (var warp = 0; warp < _options.Warps; warp++)
        {
            OneWarp(first, images, state);
        }
    }

    private void OneWarp(Tensor first, Tensor images, State state)
    {
        using var scope = NewDisposeScope();
        var count = first.shape[0];
        var warped = Warp(images, state.Flow);
        var gradient = warped.narrow(1, 1, 2);
        var square = gradient.square().sum(1, keepdim: true);
        var negativeInverse = where(square > 1.1920929e-7, -1.0 / square, zeros_like(square));
        var rho = warped.narrow(1, 0, 1) - (gradient * state.Flow).sum(1, keepdim: true) - first.unsqueeze(1);
        var enough = _options.Epsilon * _options.Epsilon * first.shape[1] * first.shape[2];

        // 1 for a pair that still moves, 0 for one that has come to rest; it scales the steps, so that a resting pair stays as it is.
        var active = ones([count, 1, 1, 1], ScalarType.Float32, _device);
        var done = 0;
        for (var outer = 0; outer < _options.OuterIterations; outer++)
        {
            if (_options.MedianFiltering > 1)
            {
                using var filtered = MedianFilter(state.Flow, _options.MedianFiltering);
                using var moving = active > 0;
                using var chosen = where(moving, filtered, state.Flow);
                state.Flow.copy_(chosen);
            }

            for (var inner = 0; inner < _options.InnerIterations; inner++)
            {
                Iterate(state, gradient, negativeInverse, rho, active, enough);
                if (++done % IterationsBetweenChecks == 0 && AllRest(active))
                {
                    return;
                }
            }
        }
    }

    private static bool AllRest(Tensor active)
    {
        using var sum = active.sum();
        return sum.item<float>() == 0;
    }

    private void Iterate(State s, Tensor gradient, Tensor negativeInverse, Tensor rho, Tensor active, double enough)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (s.Flow.shape[2], s.Flow.shape[3]);
        var most = _options.Lambda * _options.Theta;
        var step = (gradient * s.Flow).sum(1, keepdim: true).add_(rho).mul_(negativeInverse).clamp_(-most, most);
        var divergence = s.DualX.narrow(3, 1, width) - s.DualX.narrow(3, 0, width);
        divergence.add_(s.DualY.narrow(2, 1, height)).sub_(s.DualY.narrow(2, 0, height));
        var change = divergence.mul_(_options.Theta).addcmul_(step, gradient, 1).mul_(active);
        s.Flow.add_(change);

        // The last column of x differences and the last row of y differences stay zero.
        s.FlowX.narrow(3, 0, width - 1).copy_(s.Flow.narrow(3, 1, width - 1)).sub_(s.Flow.narrow(3, 0, width - 1));
        s.FlowY.narrow(2, 0, height - 1).copy_(s.Flow.narrow(2, 1, height - 1)).sub_(s.Flow.narrow(2, 0, height - 1));
        var taut = active * (_options.Tau / _options.Theta);
        var norm = s.FlowX.square().addcmul_(s.FlowY, s.FlowY, 1).sqrt_().mul_(taut).add_(1);
        s.DualX.narrow(3, 1, width).addcmul_(taut, s.FlowX, 1).div_(norm);
        s.DualY.narrow(2, 1, height).addcmul_(taut, s.FlowY, 1).div_(norm);

        active.mul_(change.square().sum([1, 2, 3], keepdim: true).gt(enough));
    }

    private static Tensor WithGradients(Tensor images)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (images.shape[1], images.shape[2]);
        var padded = nn.functional.pad(images.unsqueeze(1), [1, 1, 1, 1], PaddingModes.Replicate).squeeze(1);
        var x = padded.narrow(1, 1, height).narrow(2, 2, width) - padded.narrow(1, 1, height).narrow(2, 0, width);
        var y = padded.narrow(1, 2, height).narrow(2, 1, width) - padded.narrow(1, 0, height).narrow(2, 1, width);
        return stack([images, x * 0.5, y * 0.5], dim: 1).MoveToOuterDisposeScope();
    }

    // As CubicWarp: positions rounded to 1/32 pixel, coefficient -0.75, zeros outside. TorchSharp's grid_sample has no bicubic mode.
    private Tensor Warp(Tensor images, Tensor flow)
    {
        using var scope = NewDisposeScope();
        var (count, channels) = (images.shape[0], images.shape[1]);
        var (height, width) = (flow.shape[2], flow.shape[3]);
        var stride = width + (2 * CubicWarp.Border);
        var padded = nn.functional.pad(
            images, [CubicWarp.Border, CubicWarp.Border, CubicWarp.Border, CubicWarp.Border]).reshape(count, channels, -1);
        var (x, weightsX) = Taps(arange(width, ScalarType.Float32, _device).reshape(1, 1, width) + flow.select(1, 0), width);
        var (y, weightsY) = Taps(arange(height, ScalarType.Float32, _device).reshape(1, height, 1) + flow.select(1, 1), height);
        var corner = y.mul_(stride).add_(x).reshape(count, 1, -1);
        var sum = zeros([count, channels, height * width], ScalarType.Float32, _device);
        for (var j = 0; j < 4; j++)
        {
            for (var i = 0; i < 4; i++)
            {
                using var tap = NewDisposeScope();
                var index = (corner + ((j * stride) + i)).expand(count, channels, height * width);
                sum.addcmul_(padded.gather(2, index), (weightsX[i] * weightsY[j]).reshape(count, 1, -1), 1);
            }
        }

        return sum.reshape(count, channels, height, width).MoveToOuterDisposeScope();
    }

    /// <summary>Index of the first of four taps in the padded image, and their weights.</summary>
    private static (Tensor Index, Tensor[] Weights) Taps(Tensor position, long size)
    {
        var steps = (position.clamp(1 - CubicWarp.Border, size + 1) * CubicWarp.Steps).round();
        var whole = (steps / CubicWarp.Steps).floor();
        var f = (steps / CubicWarp.Steps) - whole;
        const float A = CubicWarp.Coefficient;
        static Tensor Near(Tensor t) => ((((A + 2) * t) - (A + 3)) * t * t) + 1;
        var g = f + 1;
        var w0 = (((((A * g) - (5 * A)) * g) + (8 * A)) * g) - (4 * A);
        var w1 = Near(f);
        var w2 = Near(1 - f);
        return ((whole + (CubicWarp.Border - 1)).to(ScalarType.Int64), [w0, w1, w2, 1 - w0 - w1 - w2]);
    }

    /// <summary>What iterations carry on: flow [N, 2, H, W], its dual variables, and room for its differences.</summary>
    private sealed record State(Tensor Flow, Tensor DualX, Tensor DualY, Tensor FlowX, Tensor FlowY);
}
