// Why this exists: the classes of the synthetic data set. A class is a motion and nothing else: at any single moment the pose of the sprite
// has the same distribution for every class, because each coordinate that does not move rests at a random point of the same swing.
namespace CoCLR.Engine.Video;

/// <summary>
/// The motions. Every one is its own mirror image (circles and spins go either way round, diagonals either way up), so that flipping a clip never
/// changes its class.
/// </summary>
public enum SyntheticMotion
{
    /// <summary>Left and right.</summary>
    Horizontal,

    /// <summary>Up and down.</summary>
    Vertical,

    /// <summary>Round in a circle.</summary>
    Circle,

    /// <summary>Turning round and round on the spot.</summary>
    Spin,

    /// <summary>Growing and shrinking.</summary>
    Pulse,

    /// <summary>Up and down a slope.</summary>
    Diagonal,

    /// <summary>Rocking: turning back and forth.</summary>
    Swing,

    /// <summary>A lying eight.</summary>
    Eight,

    /// <summary>A standing eight.</summary>
    TallEight,

    /// <summary>Rolling left and right.</summary>
    Roll,

    /// <summary>Up and down, growing and shrinking.</summary>
    Bob,

    /// <summary>Left and right, growing and shrinking.</summary>
    Approach,

    /// <summary>Round in a circle while turning.</summary>
    Orbit,

    /// <summary>Growing and shrinking while turning.</summary>
    Screw,

    /// <summary>Up and down while turning.</summary>
    Drill,

    /// <summary>Growing and shrinking while rocking.</summary>
    Flutter,
}

/// <summary>Where the sprite is: offsets in units of the swing's amplitude, angle in turns, size as a swing from -1 to 1.</summary>
internal readonly record struct SyntheticPose(double X, double Y, double Turn, double Zoom);

/// <summary>One clip's motion.</summary>
internal sealed class SyntheticTrajectory
{
    private const double SwingTurns = 0.14;
    private readonly SyntheticMotion _motion;
    private readonly double _cyclesPerFrame;
    private readonly double _phase;
    private readonly double _sense;
    private readonly double _turn;
    private readonly double _restX;
    private readonly double _restY;
    private readonly double _restZoom;

    public SyntheticTrajectory(SyntheticMotion motion, ref CounterRandom random)
    {
        _motion = motion;
        // An eight takes longer: it moves twice as fast in one direction.
        _cyclesPerFrame = (motion is SyntheticMotion.Eight or SyntheticMotion.TallEight ? 2.0 / 3.0 : 1.0) / random.Uniform(13, 18);
        _phase = random.NextDouble();
        _sense = random.Bernoulli(0.5) ? 1 : -1;
        _turn = random.NextDouble();
        _restX = Sine(random.NextDouble());
        _restY = Sine(random.NextDouble());
        _restZoom = Sine(random.NextDouble());
    }

    public SyntheticPose At(int frame)
    {
        var cycle = _phase + (frame * _cyclesPerFrame);
        var sine = Sine(cycle);
        var cosine = Sine(cycle + 0.25);
        var twice = Sine(2 * cycle);
        var spin = _turn + (_sense * 0.7 * cycle);
        var rest = new SyntheticPose(_restX, _restY, _turn, _restZoom);
        return _motion switch
        {
            SyntheticMotion.Horizontal => rest with { X = sine },
            SyntheticMotion.Vertical => rest with { Y = sine },
            SyntheticMotion.Circle => rest with { X = cosine, Y = _sense * sine },
            SyntheticMotion.Spin => rest with { Turn = spin },
            SyntheticMotion.Pulse => rest with { Zoom = sine },
            SyntheticMotion.Diagonal => rest with { X = sine, Y = _sense * sine },
            SyntheticMotion.Swing => rest with { Turn = _turn + (SwingTurns * sine) },
            SyntheticMotion.Eight => rest with { X = sine, Y = twice },
            SyntheticMotion.TallEight => rest with { X = twice, Y = sine },
            SyntheticMotion.Roll => rest with { X = sine, Turn = _turn + (SwingTurns * sine) },
            SyntheticMotion.Bob => rest with { Y = sine, Zoom = _sense * sine },
            SyntheticMotion.Approach => rest with { X = sine, Zoom = _sense * sine },
            SyntheticMotion.Orbit => rest with { X = cosine, Y = _sense * sine, Turn = spin },
            SyntheticMotion.Screw => rest with { Zoom = sine, Turn = spin },
            SyntheticMotion.Drill => rest with { Y = sine, Turn = spin },
            SyntheticMotion.Flutter => rest with { Zoom = sine, Turn = _turn + (SwingTurns * cosine) },
            _ => throw new ArgumentOutOfRangeException(nameof(frame)),
        };
    }

    /// <summary>
    /// Sine of an angle in turns from additions and multiplications only: the C library's differs in the last bit from machine to machine.
    /// Error below 1e-7.
    /// </summary>
    internal static double Sine(double turns)
    {
        var t = turns - Math.Floor(turns);
        // Fold into a quarter turn: sin(1/2 - t) = sin t.
        t = t > 0.75 ? t - 1 : t > 0.25 ? 0.5 - t : t;
        var x = t * 6.283185307179586;
        var s = x * x;
        return x * (1 + (s * (-1.0 / 6 + (s * (1.0 / 120 + (s * (-1.0 / 5040 + (s * (1.0 / 362880 + (s * (-1.0 / 39916800)))))))))));
    }
}
