// Why this exists: what is shown of a run is not the business of what runs it.
using CoCLR.Core.Events;
using CoCLR.Core.Planning;

namespace CoCLR.Cli.Terminal;

/// <summary>Sees what a local run does.</summary>
internal interface IRunObserver
{
    /// <summary>A stage's process starts.</summary>
    void StageStarting(Stage stage);

    /// <summary>A stage told something.</summary>
    void StageTold(Stage stage, RunEvent e);

    /// <summary>A stage's process ended.</summary>
    void StageEnded(Stage stage, int exitCode, bool again);
}
