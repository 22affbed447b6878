// Why this exists: the result table on a terminal.
using CoCLR.Core.Results;
using Spectre.Console;

namespace CoCLR.Cli.Terminal;

internal static class ReportView
{
    /// <summary>Prints the table of one or several runs on the same data.</summary>
    public static void Show(IReadOnlyList<RunReport> reports) => Show(ReportWriter.Table(reports));

    /// <summary>Prints a table and its notes.</summary>
    public static void Show(ReportTable content)
    {
        var table = new Table().Border(Say.Interactive ? TableBorder.Rounded : TableBorder.Ascii);
        foreach (string header in content.Headers)
        {
            table.AddColumn(
                new TableColumn(Markup.Escape(header))
                {
                    NoWrap = true, Alignment = header is "method" or "view" or "cell" ? Justify.Left : Justify.Right
                });
        }

        foreach (string[] row in content.Rows)
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }

        IAnsiConsole console = AnsiConsole.Console;
        if (!Say.Interactive)
        {
            console.Profile.Width = Math.Max(console.Profile.Width, 160); // a file or a pipe has no width to fit
        }

        console.Write(table);
        foreach (string note in content.Notes)
        {
            console.WriteLine(note);
        }
    }
}
