// Why this exists: on a processor, S3D spends half its time outside convolutions and a third in reordering memory; channels-last
// activations, 2-D convolutions and fused passes remove most of that.
using CoCLR.Engine.Training.Optimization;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace CoCLR.Engine.Models.Fast;

/// <summary>How batch norm behaves and whether gradients will be asked for.</summary>
internal enum Mode
{
    /// <summary>Running statistics, no gradients: extraction, the sampler.</summary>
    Evaluate,

    /// <summary>Batch statistics, no gradients: the key encoder.</summary>
    Observe,

    /// <summary>Batch statistics and gradients: the query encoder.</summary>
    Learn,
}

/// <summary>Activations in memory order [clips, T, H, W, channels], float, on the processor.</summary>
internal static class ChannelsLast
{
    /// <summary>The activations as rows for the kernels; valid while the tensor lives.</summary>
    public static Rows Rows(Tensor x)
    {
        var shape = x.shape;
        var channels = (int)shape[^1];
        return new Rows(ParameterKernels.Address(x), channels, checked((int)(x.numel() / channels)), channels);
    }

    /// <summary>Uninitialised activations.</summary>
    public static Tensor Empty(long n, long t, long h, long w, long channels) => empty([n, t, h, w, channels]).DetachFromDisposeScope();

    /// <summary>Clips [B,C,T,H,W] in channels-last memory order.</summary>
    public static Tensor From(Tensor clips)
    {
        using var scope = NewDisposeScope();
        return clips.detach().permute(0, 2, 3, 4, 1).contiguous().DetachFromDisposeScope();
    }

    /// <summary>The same memory seen as [B,C,T,H,W].</summary>
    public static Tensor ToClips(Tensor x) => x.permute(0, 4, 1, 2, 3);
}

/// <summary>
/// A convolution without bias as the fastest equal thing: 1x1x1 is a matrix product of rows, (1,k,k) a 2-D convolution of frames, (k,1,1)
/// a 2-D convolution over time and place. When learning, libtorch's autograd keeps a graph of this one operation.
/// </summary>
internal sealed class ConvolutionStep : IDisposable
{
    private Tensor? _input;
    private Tensor? _result;
    private long[] _inputShape = [];

    private ConvolutionStep(Tensor output)
    {
        Output = output;
    }

    /// <summary>[n, t, h, w, channels]; owned by this step when learning, else by the caller.</summary>
    public Tensor Output { get; }

    /// <summary>Runs a convolution.</summary>
    /// <param name="x">Activations.</param>
    /// <param name="conv">Kernel (1,1,1), (1,k,k) or (k,1,1).</param>
    /// <param name="learn">True to be able to go back.</param>
    /// <param name="inputGradient">False for the first layer, whose input wants no gradient.</param>
    public static ConvolutionStep Run(Tensor x, Conv3d conv, bool learn, bool inputGradient = true)
        => Run(x, () => conv.weight!, conv.kernel_size, conv.stride, conv.padding!, learn, inputGradient);

    /// <summary>Runs several 1x1x1 convolutions of the same input as one.</summary>
    public static ConvolutionStep RunPointwise(Tensor x, Conv3d[] convs, bool learn)
        => Run(
            x,
            () => convs.Length == 1 ? convs[0].weight! : cat([.. convs.Select(conv => conv.weight!)], 0),
            [1, 1, 1],
            [1, 1, 1],
            [0, 0, 0],
            learn,
            inputGradient: true);

    /// <summary>Gradient with respect to the output in, with respect to the input out; weights gather their own. Ends the step.</summary>
    /// <param name="gradient">[n, t, h, w, channels].</param>
    /// <returns>Null when the input wants none.</returns>
    public Tensor? Backward(Tensor gradient)
    {
        using var scope = NewDisposeScope();
        var (input, result) = (_input!, _result!);
        var shape = result.shape;
        // The result is [rows, channels] or channels-first over channels-last memory.
        result.backward(
            [shape.Length == 2 ? gradient.view(shape) : gradient.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)]);
        var dx = input.grad;
        input.grad = null;
        var rows = dx is null ? null : (shape.Length == 2 ? dx : dx.permute(0, 2, 3, 1).contiguous()).view(_inputShape);
        Dispose();
        return rows?.DetachFromDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _input?.Dispose();
        _result?.Dispose();
        if (_result is not null)
        {
            Output.Dispose();
        }

        _input = _result = null;
    }

    private static ConvolutionStep Run(
        Tensor x, Func<Tensor> weights, long[] kernel, long[] stride, long[] pad, bool learn, bool inputGradient)
    {
        using var scope = NewDisposeScope();
        using var mode = set_grad_enabled(learn);
        var shape = x.shape;
        var (n, t, h, w, c) = (shape[0], shape[1], shape[2], shape[3], shape[4]);
        var pointwise = kernel.All(k => k == 1);
        var spatial = kernel[0] == 1;
        var input = (
            pointwise
                ? x.view(n * t * h * w, c)
                : (spatial ? x.view(n * t, h, w, c) : x.view(n, t, h * w, c)).permute(0, 3, 1, 2)).detach();
        if (learn && inputGradient)
        {
            input.requires_grad = true;
        }

        var weight = weights();
        Tensor result;
        long ot = t, oh = h, ow = w;
        if (pointwise)
        {
            result = input.mm(weight.flatten(1).t());
        }
        else if (spatial)
        {
            result = nn.functional.conv2d(input, weight.squeeze(2), null, [stride[1], stride[2]], [pad[1], pad[2]]);
            (oh, ow) = (result.shape[2], result.shape[3]);
        }
        else
        {
            result = nn.functional.conv2d(input, weight.squeeze(4), null, [stride[0], 1], [pad[0], 0]);
            ot = result.shape[2];
        }

        var plain = pointwise ? result.detach() : result.detach().permute(0, 2, 3, 1).contiguous();
        var step = new ConvolutionStep(plain.view(n, ot, oh, ow, weight.shape[0]).DetachFromDisposeScope());
        if (learn)
        {
            (step._input, step._result, step._inputShape) = (input.DetachFromDisposeScope(), result.DetachFromDisposeScope(), shape);
        }

        return step;
    }
}

/// <summary>Batch norm with ReLU on rows, and what going back needs.</summary>
internal sealed class NormReluStep
{
    private readonly BatchNorm3d _norm;
    private readonly NormLine _line;
    private readonly double[] _mean;
    private readonly double[] _inverse;

    private NormReluStep(BatchNorm3d norm, NormLine line, double[] mean, double[] inverse)
    {
        _norm = norm;
        _line = line;
        _mean = mean;
        _inverse = inverse;
    }

    /// <summary>y = max(0, γ·(x - mean)/√(var + ε) + β); y may be x unless learning. Batch statistics move the running ones.</summary>
    public static NormReluStep Run(Rows x, Rows y, BatchNorm3d norm, Mode mode)
    {
        var channels = x.Channels;
        var (mean, variance) = (new double[channels], new double[channels]);
        var runningMean = Floats(norm.running_mean!);
        var runningVariance = Floats(norm.running_var!);
        if (mode == Mode.Evaluate)
        {
            for (var c = 0; c < channels; c++)
            {
                (mean[c], variance[c]) = (runningMean[c], runningVariance[c]);
            }
        }
        else
        {
            RowKernels.Moments(x, mean, variance);
            var momentum = norm.momentum ?? 0.1;
            var unbiased = x.Count / Math.Max(1.0, x.Count - 1);
            for (var c = 0; c < channels; c++)
            {
                runningMean[c] = (float)(((1 - momentum) * runningMean[c]) + (momentum * mean[c]));
                runningVariance[c] = (float)(((1 - momentum) * runningVariance[c]) + (momentum * variance[c] * unbiased));
            }

            System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(norm.num_batches_tracked!.bytes)[0]++;
        }

        var weight = Floats(norm.weight!);
        var bias = Floats(norm.bias!);
        var (centre, scale, offset, inverse) = (new float[channels], new float[channels], new float[channels], new double[channels]);
        for (var c = 0; c < channels; c++)
        {
            inverse[c] = 1 / Math.Sqrt(variance[c] + norm.eps);
            centre[c] = (float)mean[c];
            scale[c] = (float)(weight[c] * inverse[c]);
            offset[c] = (float)(bias[c] - ((mean[c] - centre[c]) * weight[c] * inverse[c]));
        }

        var line = new NormLine(centre, scale, offset);
        RowKernels.NormRelu(x, y, line);
        return new NormReluStep(norm, line, mean, inverse);
    }

    /// <summary>Gradient with respect to y in, with respect to x out; γ and β gather theirs. dx may be the gradient's memory.</summary>
    public void Backward(Rows x, Rows gradient, Rows dx)
    {
        var channels = x.Channels;
        var (sum, product) = RowKernels.GradientSums(x, gradient, _line);
        var (weightGradient, biasGradient) = (new float[channels], new float[channels]);
        var (slope, shift) = (new float[channels], new float[channels]);
        for (var c = 0; c < channels; c++)
        {
            // Σ g·(x - mean), from the sum about the rounded mean.
            var rest = _mean[c] - _line.Centre[c];
            var centred = product[c] - (rest * sum[c]);
            weightGradient[c] = (float)(centred * _inverse[c]);
            biasGradient[c] = (float)sum[c];
            // dx = scale·(g - mean(g) - (x - mean)·mean(g·(x - mean))/var).
            var b = -_line.Scale[c] * _inverse[c] * _inverse[c] * centred / x.Count;
            slope[c] = (float)b;
            shift[c] = (float)((-_line.Scale[c] * sum[c] / x.Count) - (b * rest));
        }

        RowKernels.GradientApply(x, gradient, dx, _line, slope, shift);
        Gather(_norm.weight!, weightGradient);
        Gather(_norm.bias!, biasGradient);
    }

    private static void Gather(Parameter parameter, float[] values)
    {
        if (!parameter.requires_grad)
        {
            return;
        }

        using var scope = NewDisposeScope();
        using var frozen = no_grad();
        if (parameter.grad is { } present)
        {
            present.add_(tensor(values));
        }
        else
        {
            parameter.grad = tensor(values);
        }
    }

    private static Span<float> Floats(Tensor tensor) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(tensor.bytes);
}

/// <summary>One layer's pass forward, able to go back once.</summary>
internal interface IBackward : IDisposable
{
    /// <summary>Gradient with respect to the output in (neither changed nor disposed), with respect to the input out.</summary>
    Tensor? Backward(Tensor gradient);
}

/// <summary>Convolution, batch norm, ReLU.</summary>
internal sealed class ConvNormReluStep : IBackward
{
    private readonly ConvolutionStep _conv;
    private readonly NormReluStep _norm;

    private ConvNormReluStep(ConvolutionStep conv, NormReluStep norm)
    {
        _conv = conv;
        _norm = norm;
    }

    /// <summary>Runs the layer.</summary>
    /// <param name="x">Activations; not disposed.</param>
    /// <param name="conv">The convolution.</param>
    /// <param name="norm">Its batch norm.</param>
    /// <param name="mode">How.</param>
    /// <param name="into">Rows to write to, or null for new activations.</param>
    /// <param name="inputGradient">False for the first layer.</param>
    /// <returns>The activations (null when written into rows), and the way back when learning.</returns>
    public static (Tensor? Output, ConvNormReluStep? Back) Run(
        Tensor x, Conv3d conv, BatchNorm3d norm, Mode mode, Rows? into = null, bool inputGradient = true)
    {
        var learn = mode == Mode.Learn;
        var step = ConvolutionStep.Run(x, conv, learn, inputGradient);
        var y = step.Output;
        // Without gradients the convolution's result is of no further use: normalise in place.
        var output = into is not null ? null : learn ? ChannelsLast.Empty(y.shape[0], y.shape[1], y.shape[2], y.shape[3], y.shape[4]) : y;
        var rows = ChannelsLast.Rows(y);
        var normed = NormReluStep.Run(rows, into ?? ChannelsLast.Rows(output!), norm, mode);
        if (learn)
        {
            return (output, new ConvNormReluStep(step, normed));
        }

        if (into is not null)
        {
            y.Dispose();
        }

        return (output, null);
    }

    /// <inheritdoc/>
    public Tensor? Backward(Tensor gradient) => Backward(ChannelsLast.Rows(gradient), gradient);

    /// <summary>As <see cref="Backward(Tensor)"/>, from a slice of joined gradients, which is left as it is.</summary>
    public Tensor? Backward(Rows gradient)
    {
        var shape = _conv.Output.shape;
        using var dy = ChannelsLast.Empty(shape[0], shape[1], shape[2], shape[3], shape[4]);
        return Backward(gradient, dy);
    }

    /// <inheritdoc/>
    public void Dispose() => _conv.Dispose();

    private Tensor? Backward(Rows gradient, Tensor dy)
    {
        _norm.Backward(ChannelsLast.Rows(_conv.Output), gradient, ChannelsLast.Rows(dy));
        return _conv.Backward(dy);
    }
}

/// <summary>Max pooling.</summary>
internal sealed class MaxPoolStep : IBackward
{
    private readonly PoolShape _shape;
    private readonly byte[] _taps;

    private MaxPoolStep(PoolShape shape, byte[] taps)
    {
        _shape = shape;
        _taps = taps;
    }

    /// <summary>Pools activations.</summary>
    public static unsafe (Tensor Output, MaxPoolStep? Back) Run(
        Tensor x, (int, int, int) kernel, (int, int, int) stride, (int, int, int) pad, bool learn)
    {
        var d = x.shape;
        var shape = new PoolShape((int)d[0], (int)d[1], (int)d[2], (int)d[3], (int)d[4], kernel, stride, pad);
        var output = ChannelsLast.Empty(d[0], shape.OutT, shape.OutH, shape.OutW, d[4]);
        var taps = learn ? GC.AllocateUninitializedArray<byte>((int)output.numel()) : null;
        fixed (byte* names = taps)
        {
            PoolKernels.Forward(shape, (float*)ParameterKernels.Address(x), (float*)ParameterKernels.Address(output), names);
        }

        return (output, taps is null ? null : new MaxPoolStep(shape, taps));
    }

    /// <summary>Adds the gradient with respect to the input to what is there.</summary>
    public unsafe void AddTo(Tensor dx, Tensor gradient)
    {
        fixed (byte* names = _taps)
        {
            PoolKernels.Backward(_shape, (float*)ParameterKernels.Address(gradient), names, (float*)ParameterKernels.Address(dx));
        }
    }

    /// <inheritdoc/>
    public Tensor Backward(Tensor gradient)
    {
        var dx = zeros([_shape.Clips, _shape.T, _shape.H, _shape.W, _shape.Channels]).DetachFromDisposeScope();
        AddTo(dx, gradient);
        return dx;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
