// Why this exists: the classes of the synthetic data set. A class is a motion and nothing else: at any single moment the pose of the sprite
// has the same distribution for every class, because each coordinate that does not move rests at a random point of the same swing.
namespace CoCLR.Engine.Video.Synthetic;

/// <summary>
/// The motions; a data set of N classes takes the first N. Every one is its own mirror image (circles and spins go either way round,
/// diagonals either way up), so that flipping a clip never changes its class. The first four differ in where and how much moves, which a
/// small RGB network learns to see within hundreds of steps; up and down against left and right it did not.
/// </summary>
public enum SyntheticMotion
{
    /// <summary>Round in a circle.</summary>
    Circle,

    /// <summary>Turning round and round on the spot.</summary>
    Spin,

    /// <summary>Growing and shrinking.</summary>
    Pulse,

    /// <summary>A quick, short shake to the left and right.</summary>
    Tremble,

    /// <summary>Left and right.</summary>
    Horizontal,

    /// <summary>Up and down.</summary>
    Vertical,

    /// <summary>Up and down a slope.</summary>
    Diagonal,

    /// <summary>A quick, short shake up and down.</summary>
    Nod,

    /// <summary>Rocking: turning back and forth.</summary>
    Swing,

    /// <summary>A lying eight.</summary>
    Eight,

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
}

/// <summary>Where the sprite is: offsets in units of the swing's amplitude, angle in turns, size as a swing from -1 to 1.</summary>
internal readonly record struct SyntheticPose(double X, double Y, double Turn, double Zoom);

/// <summary>One clip's motion.</summary>
internal sealed class SyntheticTrajectory
{
    private const double SwingTurns = 0.14;
    // Every place is the sum of a wide swing and a narrow one; a class moves one of them, the other, or neither.
    private const double Wide = 0.75;
    private const double Narrow = 0.25;
    private const double NarrowCycles = 3;
    private readonly SyntheticMotion _motion;
    private readonly double _cyclesPerFrame;
    private readonly double _phase;
    private readonly double _sense;
    private readonly double _turn;
    private readonly double _restX;
    private readonly double _restY;
    private readonly double _restZoom;
    private readonly double _narrowX;
    private readonly double _narrowY;

    public SyntheticTrajectory(SyntheticMotion motion, ref CounterRandom random)
    {
        _motion = motion;
        // An eight takes longer: it moves twice as fast in one direction.
        _cyclesPerFrame = (motion == SyntheticMotion.Eight ? 2.0 / 3.0 : 1.0) / random.Uniform(13, 18);
        _phase = random.NextDouble();
        _sense = random.Bernoulli(0.5) ? 1 : -1;
        _turn = random.NextDouble();
        _restX = Wide * Sine(random.NextDouble());
        _restY = Wide * Sine(random.NextDouble());
        _restZoom = Sine(random.NextDouble());
        _narrowX = Narrow * Sine(random.NextDouble());
        _narrowY = Narrow * Sine(random.NextDouble());
    }

    public SyntheticPose At(int frame)
    {
        var cycle = _phase + (frame * _cyclesPerFrame);
        var sine = Sine(cycle);
        var wide = Wide * sine;
        var across = Wide * Sine(cycle + 0.25);
        var twice = Wide * Sine(2 * cycle);
        var narrow = Narrow * Sine(NarrowCycles * cycle);
        var spin = _turn + (_sense * 0.7 * cycle);
        // What rests has the distribution of what moves: in a single frame nobody can tell them apart.
        double x = _restX, y = _restY, turn = _turn, zoom = _restZoom, shakeX = _narrowX, shakeY = _narrowY;
        switch (_motion)
        {
            case SyntheticMotion.Horizontal:
                x = wide;
                break;
            case SyntheticMotion.Vertical:
                y = wide;
                break;
            case SyntheticMotion.Circle:
                (x, y) = (across, _sense * wide);
                break;
            case SyntheticMotion.Spin:
                turn = spin;
                break;
            case SyntheticMotion.Pulse:
                zoom = sine;
                break;
            case SyntheticMotion.Diagonal:
                (x, y) = (wide, _sense * wide);
                break;
            case SyntheticMotion.Tremble:
                shakeX = narrow;
                break;
            case SyntheticMotion.Nod:
                shakeY = narrow;
                break;
            case SyntheticMotion.Swing:
                turn = _turn + (SwingTurns * sine);
                break;
            case SyntheticMotion.Eight:
                (x, y) = (wide, twice);
                break;
            case SyntheticMotion.Roll:
                (x, turn) = (wide, _turn + (SwingTurns * sine));
                break;
            case SyntheticMotion.Bob:
                (y, zoom) = (wide, _sense * sine);
                break;
            case SyntheticMotion.Approach:
                (x, zoom) = (wide, _sense * sine);
                break;
            case SyntheticMotion.Orbit:
                (x, y, turn) = (across, _sense * wide, spin);
                break;
            case SyntheticMotion.Screw:
                (zoom, turn) = (sine, spin);
                break;
            default:
                (y, turn) = (wide, spin);
                break;
        }

        return new SyntheticPose(x + shakeX, y + shakeY, turn, zoom);
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
