// Why this exists: launchers of distributed programs (torchrun, Indexed Jobs, coclr run) tell a process its place in the same five
// variables.
using System.Globalization;
using CoCLR.Core;

namespace CoCLR.Engine.Collectives;

/// <summary>The place of a process among the ranks of a stage.</summary>
public sealed record RankOptions
{
    /// <summary>Variable with <see cref="Rank"/>.</summary>
    public const string RankVariable = "RANK";

    /// <summary>Variable with <see cref="World"/>.</summary>
    public const string WorldVariable = "WORLD_SIZE";

    /// <summary>Variable with <see cref="LocalRank"/>.</summary>
    public const string LocalRankVariable = "LOCAL_RANK";

    /// <summary>Variable with <see cref="MasterAddress"/>.</summary>
    public const string MasterAddressVariable = "MASTER_ADDR";

    /// <summary>Variable with <see cref="MasterPort"/>.</summary>
    public const string MasterPortVariable = "MASTER_PORT";

    /// <summary>Variable with the seconds of <see cref="Rendezvous"/>.</summary>
    public const string WaitVariable = "COCLR_RANK_WAIT_SECONDS";

    /// <summary>One process.</summary>
    public static RankOptions One { get; } = new();

    /// <summary>This process's number, from 0.</summary>
    public int Rank { get; init; }

    /// <summary>How many processes there are.</summary>
    public int World { get; init; } = 1;

    /// <summary>Its number on its machine: which GPU it takes.</summary>
    public int LocalRank { get; init; }

    /// <summary>Machine of rank 0, by name or address.</summary>
    public string MasterAddress { get; init; } = "127.0.0.1";

    /// <summary>Port that rank 0 listens on.</summary>
    public int MasterPort { get; init; }

    /// <summary>How long ranks wait for one another at the start.</summary>
    public TimeSpan Rendezvous { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>A rank that is not heard of for so long is lost; sooner where its connection ends.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long one operation may wait for a rank that is heard of: it may be describing thousands of videos.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromHours(1);

    /// <summary>Reads the environment; arguments go before it.</summary>
    /// <param name="variable">Value of a variable, null where it is not set.</param>
    /// <param name="rank">The number, if given as an argument.</param>
    /// <param name="world">The count, if given as an argument.</param>
    /// <exception cref="UserErrorException">A value is missing or not possible (64).</exception>
    public static RankOptions From(Func<string, string?> variable, int? rank = null, int? world = null)
    {
        ArgumentNullException.ThrowIfNull(variable);
        int count = world ?? Number(WorldVariable, 1, 1024) ?? 1;
        if (count == 1 && rank is null or 0)
        {
            return One;
        }

        int number = rank ?? Number(RankVariable, 0, 1023)
            ?? throw Usage($"{count} ranks need to know which is which: set {RankVariable} or give --rank.");
        if (count < 1 || number < 0 || number >= count)
        {
            throw Usage(
                $"rank {number} of {count} is not possible: ranks are 0 to {Math.Max(0, count - 1)}; "
                + $"give --rank and --world, or {RankVariable} and {WorldVariable}.");
        }

        string address = variable(MasterAddressVariable) is { Length: > 0 } given ? given : "127.0.0.1";
        return new RankOptions
        {
            Rank = number,
            World = count,
            LocalRank = Number(LocalRankVariable, 0, 1023) ?? number,
            MasterAddress = address,
            Rendezvous = TimeSpan.FromSeconds(Number(WaitVariable, 1, 86400) ?? One.Rendezvous.TotalSeconds),
            MasterPort = Number(MasterPortVariable, 1, 65535) ?? throw Usage(
                $"{count} ranks meet at a port of rank 0's machine: set {MasterPortVariable} (and {MasterAddressVariable}, unless all run here)."),
        };

        int? Number(string name, int least, int most) => variable(name) is not { Length: > 0 } text ? null
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= least && value <= most ? value
            : throw Usage($"{name}: '{text}' is not a whole number from {least} to {most}.");

        static UserErrorException Usage(string message) => new(message, ExitCodes.Usage);
    }
}
