// Why this exists: Pillow's antialiased bicubic weights, in the forms that the integer kernels and the device want.
namespace CoCLR.Engine.Video.Augmentation;

/// <summary>
/// The taps of one axis of a crop-and-resize, computed as Pillow's <c>precompute_coeffs</c> does with the bicubic filter (a = -0.5) whose
/// support grows with the scale, then rounded to 16-bit fixed point. A mirrored axis costs nothing: the outputs swap their taps.
/// </summary>
public sealed class ResampleWeights
{
    private const double BicubicA = -0.5;
    private const double Support = 2.0;

    /// <summary>Computes the taps.</summary>
    /// <param name="inputSize">Pixels of the crop along this axis, at least 1.</param>
    /// <param name="outputSize">Pixels wanted, at least 1.</param>
    /// <param name="mirror">True to mirror the output along this axis.</param>
    public ResampleWeights(int inputSize, int outputSize, bool mirror = false)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(inputSize, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(outputSize, 1);
        InputSize = inputSize;
        OutputSize = outputSize;
        var scale = (double)inputSize / outputSize;
        var filterScale = Math.Max(scale, 1.0);
        var support = Support * filterScale;
        Taps = MostTaps(inputSize, outputSize, scale, support);
        Offsets = new int[outputSize];
        Counts = new int[outputSize];
        Exact = new double[outputSize * Taps];
        var largest = 0.0;
        for (var output = 0; output < outputSize; output++)
        {
            var slot = mirror ? outputSize - 1 - output : output;
            var center = (output + 0.5) * scale;
            var first = Math.Max((int)(center - support + 0.5), 0);
            var count = Math.Min((int)(center + support + 0.5), inputSize) - first;
            var taps = Exact.AsSpan(slot * Taps, Taps);
            var sum = 0.0;
            for (var i = 0; i < count; i++)
            {
                taps[i] = Bicubic((i + first - center + 0.5) / filterScale);
                sum += taps[i];
            }

            for (var i = 0; i < count; i++)
            {
                taps[i] /= sum;
                largest = Math.Max(largest, Math.Abs(taps[i]));
            }

            Offsets[slot] = first;
            Counts[slot] = count;
        }

        Precision = 8;
        while (Precision < 20 && Math.Round(largest * (1 << (Precision + 1))) <= short.MaxValue)
        {
            Precision++;
        }

        Fixed = new short[Exact.Length];
        for (var i = 0; i < Fixed.Length; i++)
        {
            Fixed[i] = (short)Math.Round(Exact[i] * (1 << Precision), MidpointRounding.AwayFromZero);
        }
    }

    /// <summary>Pixels along the axis before.</summary>
    public int InputSize { get; }

    /// <summary>Pixels along the axis after.</summary>
    public int OutputSize { get; }

    /// <summary>Taps of one output, a multiple of four; unused ones are zero.</summary>
    public int Taps { get; }

    /// <summary>Fraction bits of <see cref="Fixed"/>.</summary>
    public int Precision { get; }

    /// <summary>For each output the first input pixel.</summary>
    public int[] Offsets { get; }

    /// <summary>For each output the number of taps in use.</summary>
    public int[] Counts { get; }

    /// <summary>[outputs, taps], normalised to sum 1.</summary>
    public double[] Exact { get; }

    /// <summary>[outputs, taps] in fixed point.</summary>
    public short[] Fixed { get; }

    /// <summary>
    /// Writes the taps as a dense matrix: <paramref name="matrix"/>[output, <paramref name="start"/> + input], row length
    /// <paramref name="columns"/>.
    /// </summary>
    /// <param name="matrix">Zeroed target of outputs x columns.</param>
    /// <param name="columns">Row length, at least start + input size.</param>
    /// <param name="start">Column of the crop's first pixel.</param>
    public void WriteDense(Span<float> matrix, int columns, int start)
    {
        for (var output = 0; output < OutputSize; output++)
        {
            var row = matrix.Slice((output * columns) + start, InputSize);
            var first = Offsets[output];
            for (var tap = 0; tap < Counts[output]; tap++)
            {
                row[first + tap] = (float)Exact[(output * Taps) + tap];
            }
        }
    }

    private static int MostTaps(int inputSize, int outputSize, double scale, double support)
    {
        var most = 1;
        for (var output = 0; output < outputSize; output++)
        {
            var center = (output + 0.5) * scale;
            most = Math.Max(most, Math.Min((int)(center + support + 0.5), inputSize) - Math.Max((int)(center - support + 0.5), 0));
        }

        return (most + 3) & ~3;
    }

    private static double Bicubic(double x)
    {
        x = Math.Abs(x);
        if (x < 1.0)
        {
            return ((((BicubicA + 2.0) * x) - (BicubicA + 3.0)) * x * x) + 1;
        }

        return x < 2.0 ? (((((x - 5) * x) + 8) * x) - 4) * BicubicA : 0.0;
    }
}
