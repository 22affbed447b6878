// Why this exists: TV-L1 optical flow on the CPU, fast enough that flow for a whole data set takes minutes where days were common.
namespace CoCLR.Engine.Flow;

/// <summary>
/// TV-L1 optical flow on one CPU thread, with all its registers (method.md 1f). Same algorithm as OpenCV's DualTVL1; the result does not
/// depend on the machine's register width. For many frames at once see <see cref="FlowSequence"/>.
/// </summary>
public sealed unsafe class TvL1Flow : IFlowEstimator
{
    private readonly TvL1Options _options;
    private readonly LaneWidth _lanes;
    private readonly Arena _arena = new();
    private readonly IReadOnlyList<(int Width, int Height)> _sizes;
    private readonly Resampler[] _up;
    private readonly Resampler[] _down;
    private readonly CubicWarp _warp;
    private readonly Plane[] _dual;
    private readonly Plane _gradX;
    private readonly Plane _gradY;
    private readonly Plane _warped;
    private readonly Plane _rho;
    private readonly Plane _inverse;
    private readonly float* _hasRight;
    private readonly float* _change;
    private readonly float* _medianRows;
    private Pyramid _first;
    private Pyramid _second;
    private Plane _u;
    private Plane _v;
    private Plane _otherU;
    private Plane _otherV;
    private int _pushed;

    /// <summary>Reserves all memory for one frame size.</summary>
    /// <param name="width">Frame width, at least 1.</param>
    /// <param name="height">Frame height, at least 1.</param>
    /// <param name="options">Parameters; OpenCV's defaults when null.</param>
    /// <exception cref="CoCLR.Core.UserErrorException">A parameter is outside its range.</exception>
    public TvL1Flow(int width, int height, TvL1Options? options = null)
        : this(width, height, options, LaneWidths.Best)
    {
    }

    internal TvL1Flow(int width, int height, TvL1Options? options, LaneWidth lanes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(width, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(height, 1);
        _options = options ?? new TvL1Options();
        _options.Validate();
        _lanes = lanes;
        Width = width;
        Height = height;
        _sizes = Pyramid.Sizes(width, height, _options);
        _first = new Pyramid(_arena, _sizes, _options.ScaleStep);
        _second = new Pyramid(_arena, _sizes, _options.ScaleStep);
        _up = [.. _sizes.Skip(1).Select((size, i) => Between(size, _sizes[i]))];
        _down = [.. _sizes.Skip(1).Select((size, i) => Between(_sizes[i], size))];
        _warp = new CubicWarp(_arena, width, height);
        _dual = [.. Enumerable.Range(0, 4).Select(_ => _arena.Plane(width, height))];
        _gradX = _arena.Plane(width, height);
        _gradY = _arena.Plane(width, height);
        _warped = _arena.Plane(width, height);
        _rho = _arena.Plane(width, height);
        _inverse = _arena.Plane(width, height);
        _u = _arena.Plane(width, height);
        _v = _arena.Plane(width, height);
        _otherU = _arena.Plane(width, height);
        _otherV = _arena.Plane(width, height);
        var row = (nuint)(_u.Stride + Plane.Pad);
        _hasRight = _arena.Floats(row);
        _change = _arena.Floats(row);
        _medianRows = _arena.Floats(row * MedianFilter<Lanes1>.ScratchRows);
    }

    /// <inheritdoc/>
    public int Width { get; }

    /// <inheritdoc/>
    public int Height { get; }

    /// <inheritdoc/>
    public void Reset() => _pushed = 0;

    /// <inheritdoc/>
    public bool Push(ReadOnlySpan<byte> gray, Span<float> u, Span<float> v)
    {
        CheckLength(gray.Length, nameof(gray));
        CheckLength(u.Length, nameof(u));
        CheckLength(v.Length, nameof(v));
        (_first, _second) = (_second, _first);
        _second.Fill(gray);
        if (_pushed++ == 0)
        {
            return false;
        }

        switch (_lanes)
        {
            case LaneWidth.Sixteen:
                Solve<Lanes16>();
                break;
            case LaneWidth.Eight:
                Solve<Lanes8>();
                break;
            case LaneWidth.Four:
                Solve<Lanes4>();
                break;
            default:
                Solve<Lanes1>();
                break;
        }

        for (var y = 0; y < Height; y++)
        {
            new ReadOnlySpan<float>(_u.Row(y), Width).CopyTo(u.Slice(y * Width, Width));
            new ReadOnlySpan<float>(_v.Row(y), Width).CopyTo(v.Slice(y * Width, Width));
        }

        return true;
    }

    /// <inheritdoc/>
    public void Dispose() => _arena.Dispose();

    private static Resampler Between((int Width, int Height) from, (int Width, int Height) to) =>
        new(from, to, (double)from.Width / to.Width, (double)from.Height / to.Height);

    private void CheckLength(int length, string name)
    {
        if (length != Width * Height)
        {
            throw new ArgumentException($"{name} has {length} values but a frame has {Width} x {Height}.", name);
        }
    }

    private void Solve<T>()
        where T : struct, ILanes<T>
    {
        var coarsest = _sizes.Count - 1;
        if (_options.WarmStart && _pushed > 2)
        {
            for (var scale = 1; scale <= coarsest; scale++)
            {
                Rescale(_down[scale - 1], _sizes[scale], _options.ScaleStep);
            }
        }
        else
        {
            _u = _u.Resized(_sizes[coarsest].Width, _sizes[coarsest].Height);
            _v = _v.Resized(_sizes[coarsest].Width, _sizes[coarsest].Height);
            _u.Clear();
            _v.Clear();
        }

        for (var scale = coarsest; scale >= 0; scale--)
        {
            SolveScale<T>(scale);
            if (scale > 0)
            {
                Rescale(_up[scale - 1], _sizes[scale - 1], 1f / _options.ScaleStep);
            }
        }
    }

    private void Rescale(Resampler resampler, (int Width, int Height) size, float factor)
    {
        _otherU = _otherU.Resized(size.Width, size.Height);
        _otherV = _otherV.Resized(size.Width, size.Height);
        _otherU.Clear();
        _otherV.Clear();
        resampler.Apply(_u, _otherU, factor);
        resampler.Apply(_v, _otherV, factor);
        SwapFlow();
        _otherU = _otherU.Resized(size.Width, size.Height);
        _otherV = _otherV.Resized(size.Width, size.Height);
        _otherU.Clear();
        _otherV.Clear();
    }

    private void SwapFlow()
    {
        (_u, _otherU) = (_otherU, _u);
        (_v, _otherV) = (_otherV, _v);
    }

    private void SolveScale<T>(int scale)
        where T : struct, ILanes<T>
    {
        var (width, height) = _sizes[scale];
        Plane Fresh(Plane plane)
        {
            var resized = plane.Resized(width, height);
            resized.Clear();
            return resized;
        }

        _otherU = Fresh(_otherU);
        _otherV = Fresh(_otherV);
        var p11 = Fresh(_dual[0]);
        var p12 = Fresh(_dual[1]);
        var p21 = Fresh(_dual[2]);
        var p22 = Fresh(_dual[3]);
        var gradX = Fresh(_gradX);
        var gradY = Fresh(_gradY);
        var rho = Fresh(_rho);
        var inverse = Fresh(_inverse);
        var warped = Fresh(_warped);
        new Span<float>(_hasRight, _u.Span).Clear();
        new Span<float>(_hasRight, width - 1).Fill(1f);
        _warp.SetImage(_second[scale]);
        TvL1State State() => new()
        {
            U = _u,
            V = _v,
            P11 = p11,
            P12 = p12,
            P21 = p21,
            P22 = p22,
            GradX = gradX,
            GradY = gradY,
            RhoConstant = rho,
            NegativeInverse = inverse,
            HasRight = _hasRight,
            Change = _change,
        };

        var enough = _options.Epsilon * _options.Epsilon * width * height;
        for (var warp = 0; warp < _options.Warps; warp++)
        {
            _warp.Sample<T>(_u, _v, warped, gradX, gradY);
            TvL1Kernels<T>.Residual(State(), _first[scale], warped);
            var change = double.MaxValue;
            for (var outer = 0; outer < _options.OuterIterations && change > enough; outer++)
            {
                if (_options.MedianFiltering > 1)
                {
                    MedianFilter<T>.Apply(_u, _otherU, _options.MedianFiltering, _medianRows);
                    MedianFilter<T>.Apply(_v, _otherV, _options.MedianFiltering, _medianRows);
                    SwapFlow();
                }

                var state = State();
                for (var inner = 0; inner < _options.InnerIterations && change > enough; inner++)
                {
                    change = TvL1Kernels<T>.Iterate(state, _options.Theta, _options.Lambda * _options.Theta, _options.Tau / _options.Theta);
                }
            }
        }
    }
}
