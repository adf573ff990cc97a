//! The description of a job in one line, for its log.

use super::{Cut, Destination, Input, Job, Stream};
use crate::output::Lines;
use crate::plural::counted;
use deltacart_inputs::kafka::StartFrom;

impl Job {
    /// The inputs, the lists, their destination, the epochs and the workers, in one line.
    pub(crate) fn described(&self) -> String {
        let job = self;
        let lists = &job.params.lists;
        let inputs: Vec<String> = job.streams.iter().map(|(_number, stream)| described(stream)).collect();
        let input = inputs.join(", ");
        let outputs = job.outputs.iter().map(|(_number, stream)| {
            let place = match &stream.destination {
                Destination::File(path) => shown(path, "standard output"),
                Destination::Topic(name) => format!("topic {name}"),
            };
            match stream.content.lines() {
                Lines::LISTS => {
                    format!("lists of {} by {} go to {place}", lists.k, lists.scoring.measure.name())
                }
                lines => format!("{} go to {place}", lines.name),
            }
        });
        let outputs = outputs.collect::<Vec<_>>().join(", ");
        let epoch = match job.cut {
            Cut::Tick(tick) => format!("every {tick:?}"),
            Cut::Records(records) => format!("every {records} records"),
        };
        let workers = counted(job.cluster.threads as u64, "worker(s)");
        format!("reading {input}; {outputs} {epoch}; {workers}")
    }
}

fn described(stream: &Stream) -> String {
    let format = stream.decode.format.name();
    match &stream.input {
        Input::Files(paths) if paths.len() == 1 => {
            format!("{} as {format}", shown(&paths[0].display().to_string(), "standard input"))
        }
        Input::Files(paths) => format!("{} files as {format}", paths.len()),
        Input::Topic { name, from, .. } => {
            let from = match from {
                StartFrom::Beginning => "its beginning".to_owned(),
                StartFrom::End => "its end".to_owned(),
                StartFrom::Committed => "where its group stopped".to_owned(),
                StartFrom::Timestamp(time) => {
                    jiff::Timestamp::from_millisecond(*time).map(|time| time.to_string()).unwrap_or_default()
                }
            };
            format!("topic {name} from {from} as {format}")
        }
    }
}

fn shown(path: &str, stream: &str) -> String {
    if path == "-" { stream.to_owned() } else { path.to_owned() }
}
